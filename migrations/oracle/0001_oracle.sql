-- Data sources, requests for what they say, each attempt to fetch them, and the outcomes that a replay left behind.
create table oracle_sources (
    id text primary key,
    tenant text not null,
    account_id text not null,
    name text not null,
    name_key text not null,
    description text not null,
    url text not null,
    method text not null,
    headers text not null,
    body text,
    enabled bigint not null,
    version bigint not null,
    created_at bigint not null,
    updated_at bigint not null,
    unique (tenant, account_id, name_key),
    foreign key (tenant, account_id) references accounts (tenant, id) on delete cascade
);

-- run counts the times somebody took the request on; whoever holds a run may write its end, so no end is written twice.
-- attempts counts tries since creation, tries those since creation or the last replay.
create table oracle_requests (
    id text primary key,
    tenant text not null,
    account_id text not null,
    source_id text not null,
    alternate_source_ids text not null,
    payload text,
    aggregation text not null,
    filter text,
    status text not null,
    run bigint not null,
    attempts bigint not null,
    tries bigint not null,
    result text,
    error text,
    error_code text,
    result_code text,
    lease text,
    lease_until bigint,
    created_at bigint not null,
    updated_at bigint not null,
    completed_at bigint,
    expires_at bigint,
    next_attempt_at bigint,
    foreign key (tenant, account_id) references accounts (tenant, id) on delete cascade
);
create index oracle_requests_account on oracle_requests (tenant, account_id, id);
create index oracle_requests_open on oracle_requests (status, next_attempt_at);

create table oracle_attempts (
    id text primary key,
    tenant text not null,
    request_id text not null references oracle_requests (id) on delete cascade,
    attempt bigint not null,
    source_id text,
    outcome text not null,
    status bigint,
    address text,
    content_type text,
    bytes bigint,
    ms bigint,
    error_class text,
    error text,
    created_at bigint not null
);
create index oracle_attempts_request on oracle_attempts (request_id, id);

create table oracle_outcomes (
    id text primary key,
    tenant text not null,
    request_id text not null references oracle_requests (id) on delete cascade,
    status text not null,
    attempts bigint not null,
    result text,
    error text,
    error_code text,
    result_code text,
    completed_at bigint
);
create index oracle_outcomes_request on oracle_outcomes (request_id, id);
