"""What Percorso costs, as ratios measured in one run. `make bench` prints them and keeps them in results/."""
