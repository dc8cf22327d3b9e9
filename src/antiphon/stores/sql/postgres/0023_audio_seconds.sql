-- Seconds of recordings that a provider counts in seconds, not in tokens.
ALTER TABLE spent ADD COLUMN audio_seconds DOUBLE PRECISION NOT NULL DEFAULT 0;
