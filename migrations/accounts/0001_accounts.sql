-- Accounts: the parent of every other service's rows, which refer to (tenant, id) and are deleted with it.
create table accounts (
    id text primary key,
    tenant text not null,
    owner text not null,
    metadata text not null,
    version bigint not null,
    created_at bigint not null,
    updated_at bigint not null,
    unique (tenant, id)
);
