"""What the console's pages read, through the views that each context offers. Nothing here writes."""
