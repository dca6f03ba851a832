"""Operations on a given sound: what is missing in it is found and filled in."""
