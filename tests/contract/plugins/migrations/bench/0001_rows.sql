create table bench_rows (id text primary key, tenant text not null, body text not null, created_at bigint not null);
