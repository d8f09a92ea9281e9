-- The audit log: one row for each changing and each refused call, chained by hash in the order of seq.
create table sl_audit (
    id         text primary key,   -- UUIDv7, made when the call ended
    at         bigint not null,
    actor      text not null,
    role       text not null,
    tenant     text not null,
    method     text not null,
    route      text,               -- the template; null: no route matched
    target     text not null,      -- the path without its query
    status     bigint,             -- null: what an administrator asked for is about to begin
    code       text,               -- of the problem
    outcome    text,               -- in words, where a status does not say enough
    request_id text not null,
    trace_id   text not null,
    address    text not null,
    times      bigint not null,    -- more than 1: this many refusals of one caller in one row
    seq        bigint,             -- its place in the chain; null until the next sealing
    hash       text
);
create unique index sl_audit_seq on sl_audit (seq) where seq is not null;
create index sl_audit_open on sl_audit (id) where seq is null;
create table sl_audit_chain (
    name text primary key,         -- 'head': the last sealed row; 'base': the last one that was removed by age
    seq  bigint not null,
    hash text not null,
    at   bigint not null
);
insert into sl_audit_chain (name, seq, hash, at) values
    ('head', 0, '0000000000000000000000000000000000000000000000000000000000000000', 0),
    ('base', 0, '0000000000000000000000000000000000000000000000000000000000000000', 0);
