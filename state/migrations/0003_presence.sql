-- SPDX-License-Identifier: Apache-2.0
-- How devices come and go: whether one is connected, how its last connection
-- ended, which run of which boot that was, and what its last silence had been.

-- +goose Up
ALTER TABLE devices ADD COLUMN live BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE devices ADD COLUMN farewell TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN left_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN contact_run TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN contact_boot TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN suspended BIGINT NOT NULL DEFAULT 0; -- that the host had slept in that boot, microseconds
ALTER TABLE devices ADD COLUMN silence_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN silence_to BIGINT NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN silence_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN clock_changed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN note_run TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN note_number BIGINT NOT NULL DEFAULT 0; -- of the newest note of that run on the timeline
