-- Random values that were given out, the counter that orders them, and the sealed signing key when none is configured.
create table random_values (
    id text primary key,
    tenant text not null,
    account_id text not null,
    request_id text not null,
    length bigint not null,
    value {{blob}} not null,
    counter bigint not null unique,
    signature {{blob}} not null,
    public_key {{blob}} not null,
    created_at bigint not null,
    created_at_ns text not null,
    foreign key (tenant, account_id) references accounts (tenant, id) on delete cascade
);
create index random_values_account on random_values (tenant, account_id, id);

create table random_state (
    id text primary key,
    counter bigint not null,
    sealed_key {{blob}}
);
insert into random_state (id, counter) values ('random', 0);
