-- Requests of each tenant in a UTC day, added up over all replicas, for limits.tenant_daily.
create table sl_tenant_usage (
    tenant   text not null,
    day      bigint not null,   -- since 1970-01-01
    requests bigint not null,
    primary key (tenant, day)
);
