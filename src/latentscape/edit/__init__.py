"""Operations on given sounds: what is missing is found and filled in, what is there is refined or restyled."""
