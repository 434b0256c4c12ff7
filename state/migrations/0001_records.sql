-- SPDX-License-Identifier: Apache-2.0
-- Runs as it is on SQLite and on PostgreSQL: only TEXT, BIGINT and BOOLEAN.
-- Times are microseconds since the Unix epoch; 0 means none.

-- +goose Up
CREATE TABLE tenants (
    id             TEXT    NOT NULL PRIMARY KEY,
    name           TEXT    NOT NULL,
    retention      BIGINT  NOT NULL, -- microseconds
    setup_done     BOOLEAN NOT NULL,
    created        BIGINT  NOT NULL,
    policy         TEXT    NOT NULL, -- JSON that sensors receive
    policy_version BIGINT  NOT NULL
);

CREATE TABLE enrolment_tokens (
    tenant       TEXT   NOT NULL REFERENCES tenants (id),
    id           TEXT   NOT NULL,
    secret_hash  TEXT   NOT NULL,
    device_group TEXT   NOT NULL,
    uses_allowed BIGINT NOT NULL,
    uses         BIGINT NOT NULL,
    created      BIGINT NOT NULL,
    created_by   TEXT   NOT NULL,
    expires      BIGINT NOT NULL,
    revoked      BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX enrolment_tokens_secret ON enrolment_tokens (tenant, secret_hash);

CREATE TABLE devices (
    tenant          TEXT    NOT NULL REFERENCES tenants (id),
    id              TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    device_group    TEXT    NOT NULL,
    os_platform     TEXT    NOT NULL,
    os_distribution TEXT    NOT NULL,
    os_version      TEXT    NOT NULL,
    os_architecture TEXT    NOT NULL,
    kernel_version  TEXT    NOT NULL,
    sensor_version  TEXT    NOT NULL,
    internal_ip     TEXT    NOT NULL,
    internal_ip_key TEXT    NOT NULL, -- of internal_ip, in the order of addresses
    external_ip     TEXT    NOT NULL,
    first_seen      BIGINT  NOT NULL,
    last_heartbeat  BIGINT  NOT NULL,
    last_telemetry  BIGINT  NOT NULL,
    offboarded      BOOLEAN NOT NULL,
    identity_clash  BOOLEAN NOT NULL,
    boot_id         TEXT    NOT NULL,
    machine_id      TEXT    NOT NULL,
    hardware_uuid   TEXT    NOT NULL,
    rung            TEXT    NOT NULL,
    hooks           TEXT    NOT NULL, -- JSON
    hooks_missing   BOOLEAN NOT NULL, -- some kind of event is not collected
    lost            TEXT    NOT NULL, -- JSON, by class, since enrolment
    run             TEXT    NOT NULL, -- run of the sensor that run_lost belongs to
    run_lost        TEXT    NOT NULL, -- JSON, by class, since that run began
    PRIMARY KEY (tenant, id)
);
CREATE INDEX devices_name ON devices (tenant, name);
CREATE INDEX devices_machine ON devices (tenant, machine_id);

CREATE TABLE device_tags (
    tenant    TEXT NOT NULL,
    device_id TEXT NOT NULL,
    tag       TEXT NOT NULL,
    PRIMARY KEY (tenant, device_id, tag),
    FOREIGN KEY (tenant, device_id) REFERENCES devices (tenant, id)
);
CREATE INDEX device_tags_tag ON device_tags (tenant, tag);

CREATE TABLE certificates (
    tenant     TEXT   NOT NULL,
    serial     TEXT   NOT NULL,
    device_id  TEXT   NOT NULL,
    not_before BIGINT NOT NULL,
    not_after  BIGINT NOT NULL,
    revoked    BIGINT NOT NULL,
    reason     TEXT   NOT NULL,
    PRIMARY KEY (tenant, serial),
    FOREIGN KEY (tenant, device_id) REFERENCES devices (tenant, id)
);
CREATE INDEX certificates_device ON certificates (tenant, device_id);

CREATE TABLE alerts (
    tenant           TEXT   NOT NULL REFERENCES tenants (id),
    id               TEXT   NOT NULL,
    cause            TEXT   NOT NULL, -- id that detection gave
    generation       BIGINT NOT NULL, -- 0, then 1, 2 ... after each resolution
    device_id        TEXT   NOT NULL,
    device_name      TEXT   NOT NULL,
    title            TEXT   NOT NULL,
    description      TEXT   NOT NULL,
    recommended      TEXT   NOT NULL,
    severity         TEXT   NOT NULL,
    severity_rank    BIGINT NOT NULL,
    category         TEXT   NOT NULL,
    techniques       TEXT   NOT NULL, -- JSON
    rule_id          TEXT   NOT NULL,
    rule_author      TEXT   NOT NULL,
    detection_source TEXT   NOT NULL,
    status           TEXT   NOT NULL,
    status_rank      BIGINT NOT NULL,
    classification   TEXT   NOT NULL,
    determination    TEXT   NOT NULL,
    assigned_to      TEXT   NOT NULL,
    user_name        TEXT   NOT NULL,
    first_activity   BIGINT NOT NULL,
    last_activity    BIGINT NOT NULL,
    created          BIGINT NOT NULL,
    updated          BIGINT NOT NULL,
    resolved         BIGINT NOT NULL,
    event_count      BIGINT NOT NULL,
    evidence_count   BIGINT NOT NULL, -- events whose evidence is kept
    process_guid     TEXT   NOT NULL,
    evidence_lost    BIGINT NOT NULL,
    revision         BIGINT NOT NULL, -- changes by people
    PRIMARY KEY (tenant, id)
);
CREATE INDEX alerts_device ON alerts (tenant, device_id, last_activity);
CREATE INDEX alerts_activity ON alerts (tenant, last_activity);
CREATE INDEX alerts_process ON alerts (tenant, device_id, process_guid);
CREATE INDEX alerts_cause ON alerts (tenant, cause, generation);
CREATE INDEX alerts_active ON alerts (tenant, device_id, severity) WHERE status <> 'Resolved';

CREATE TABLE alert_causes (
    tenant      TEXT   NOT NULL REFERENCES tenants (id),
    cause       TEXT   NOT NULL,
    generation  BIGINT NOT NULL, -- of the latest alert
    PRIMARY KEY (tenant, cause)
);

CREATE TABLE alert_events (
    tenant     TEXT   NOT NULL,
    cause      TEXT   NOT NULL,
    boot_id    TEXT   NOT NULL,
    report_id  BIGINT NOT NULL,
    event_table TEXT  NOT NULL,
    alert_id   TEXT   NOT NULL,
    device_id  TEXT   NOT NULL,
    event_time BIGINT NOT NULL,
    PRIMARY KEY (tenant, cause, boot_id, report_id, event_table),
    FOREIGN KEY (tenant, cause) REFERENCES alert_causes (tenant, cause)
);
CREATE INDEX alert_events_time ON alert_events (tenant, device_id, event_time);
CREATE INDEX alert_events_event ON alert_events (tenant, device_id, boot_id, report_id);
CREATE INDEX alert_events_alert ON alert_events (tenant, alert_id);

CREATE TABLE alert_evidence (
    tenant       TEXT   NOT NULL,
    alert_id     TEXT   NOT NULL,
    position     BIGINT NOT NULL,
    entity_type  TEXT   NOT NULL,
    role         TEXT   NOT NULL,
    event_time   BIGINT NOT NULL,
    event_table  TEXT   NOT NULL,
    report_id    BIGINT NOT NULL,
    boot_id      TEXT   NOT NULL,
    process_guid TEXT   NOT NULL,
    fields       TEXT   NOT NULL, -- JSON
    PRIMARY KEY (tenant, alert_id, position),
    FOREIGN KEY (tenant, alert_id) REFERENCES alerts (tenant, id)
);
CREATE INDEX alert_evidence_process ON alert_evidence (tenant, process_guid);

CREATE TABLE alert_comments (
    tenant    TEXT   NOT NULL,
    alert_id  TEXT   NOT NULL,
    position  BIGINT NOT NULL,
    at        BIGINT NOT NULL,
    author    TEXT   NOT NULL,
    body      TEXT   NOT NULL,
    PRIMARY KEY (tenant, alert_id, position),
    FOREIGN KEY (tenant, alert_id) REFERENCES alerts (tenant, id)
);

CREATE TABLE users (
    tenant        TEXT    NOT NULL REFERENCES tenants (id),
    id            TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    role          TEXT    NOT NULL,
    password_hash TEXT    NOT NULL,
    disabled      BOOLEAN NOT NULL,
    created       BIGINT  NOT NULL,
    last_sign_in  BIGINT  NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX users_name ON users (name);

CREATE TABLE sessions (
    tenant     TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    user_id    TEXT   NOT NULL,
    token_hash TEXT   NOT NULL,
    csrf       TEXT   NOT NULL,
    created    BIGINT NOT NULL,
    last_used  BIGINT NOT NULL,
    expires    BIGINT NOT NULL,
    address    TEXT   NOT NULL,
    user_agent TEXT   NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, user_id) REFERENCES users (tenant, id)
);
CREATE UNIQUE INDEX sessions_token ON sessions (token_hash);
CREATE INDEX sessions_user ON sessions (tenant, user_id);

CREATE TABLE api_tokens (
    tenant     TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    token_hash TEXT    NOT NULL,
    created    BIGINT  NOT NULL,
    expires    BIGINT  NOT NULL,
    last_used  BIGINT  NOT NULL,
    revoked    BOOLEAN NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, user_id) REFERENCES users (tenant, id)
);
CREATE UNIQUE INDEX api_tokens_token ON api_tokens (token_hash);
CREATE INDEX api_tokens_user ON api_tokens (tenant, user_id);

-- Of the whole deployment: an attempt names no tenant.
CREATE TABLE sign_in_attempts (
    attempt_key  TEXT   NOT NULL PRIMARY KEY,
    failures     BIGINT NOT NULL,
    first_at     BIGINT NOT NULL,
    last_at      BIGINT NOT NULL,
    locked_until BIGINT NOT NULL
);

CREATE TABLE audit_heads (
    tenant TEXT   NOT NULL PRIMARY KEY REFERENCES tenants (id),
    seq    BIGINT NOT NULL,
    hash   TEXT   NOT NULL
);

CREATE TABLE audit (
    tenant  TEXT   NOT NULL REFERENCES tenants (id),
    seq     BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    actor   TEXT   NOT NULL,
    action  TEXT   NOT NULL,
    target  TEXT   NOT NULL,
    outcome TEXT   NOT NULL,
    address TEXT   NOT NULL,
    detail  TEXT   NOT NULL, -- JSON
    prev    TEXT   NOT NULL,
    hash    TEXT   NOT NULL,
    PRIMARY KEY (tenant, seq)
);

CREATE TABLE setup_steps (
    tenant      TEXT   NOT NULL REFERENCES tenants (id),
    step        TEXT   NOT NULL,
    at          BIGINT NOT NULL,
    device_id   TEXT   NOT NULL,
    device_name TEXT   NOT NULL,
    alert_id    TEXT   NOT NULL,
    PRIMARY KEY (tenant, step)
);

-- Small settings and positions of consumers.
CREATE TABLE kv (
    tenant TEXT NOT NULL REFERENCES tenants (id),
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
);
