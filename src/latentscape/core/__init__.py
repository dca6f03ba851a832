"""What every room stands on: errors, configuration records, random streams, safe storage."""
