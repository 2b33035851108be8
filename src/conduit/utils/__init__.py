"""Small tools without a Matrix word; standard library only."""
