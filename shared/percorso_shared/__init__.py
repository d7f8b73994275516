"""What crosses a process boundary, and the machines that every process needs."""
