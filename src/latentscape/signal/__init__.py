"""Views of sound that can be turned back: waveform, mu-law codes, STFT, log-mel, constant-Q, and phase recovery."""
