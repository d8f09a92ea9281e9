create table probe_rows (
    id text primary key,
    name text not null unique,
    amount bigint not null,
    flag bigint not null,
    at bigint,
    data {{blob}},
    version bigint not null default 1
);
create table probe_events (
    id text primary key,
    topic text not null,
    event_id text not null,
    body text not null,
    attempt bigint not null
);
create table probe_runs (
    id text primary key,
    kind text not null,
    job_key text,
    body text,
    attempt bigint not null,
    tick text
);
