"""What a trained network did, for people: one question, a whole split, or a sweep."""
