-- Secrets and the sealed values of their versions. `version` of a secret counts its changes; a value carries the version
-- at which it was written. name_key is the name in lower case: names are unique per account whatever their case.
create table secrets (
    id text primary key,
    tenant text not null,
    account_id text not null,
    name text not null,
    name_key text not null,
    acl text not null,
    version bigint not null,
    created_at bigint not null,
    updated_at bigint not null,
    deleted_at bigint,
    unique (tenant, account_id, name_key),
    foreign key (tenant, account_id) references accounts (tenant, id) on delete cascade
);
create index secrets_deleted on secrets (deleted_at);

-- skipped_for: id of the master key under which a rewrap could not open this value (its own key is not configured).
create table secret_versions (
    id text primary key,
    tenant text not null,
    account_id text not null,
    secret_id text not null references secrets (id) on delete cascade,
    version bigint not null,
    sealed {{blob}} not null,
    key_id text not null,
    skipped_for text,
    created_at bigint not null,
    destroyed_at bigint,
    unique (secret_id, version)
);
create index secret_versions_key on secret_versions (key_id, id);

-- The one rewrap that counts: a later start gets a higher run, and jobs of an earlier one stop.
create table secret_rewrap (
    id text primary key,
    run bigint not null,
    active bigint not null,
    done bigint not null,
    started_at bigint,
    finished_at bigint
);
insert into secret_rewrap (id, run, active, done) values ('rewrap', 0, 0, 0);
