create table NAME_items (
    id text primary key,
    tenant text not null,
    name text not null,
    created_at bigint not null,
    unique (tenant, name)
);
create index NAME_items_by_tenant on NAME_items (tenant, id);
