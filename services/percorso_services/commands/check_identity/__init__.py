"""`percorso check identity FILE`: cases of who is who, on the real engine and database."""
