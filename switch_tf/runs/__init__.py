"""Run folders: what one training left behind."""
