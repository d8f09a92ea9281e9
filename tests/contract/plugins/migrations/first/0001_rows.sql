create table first_rows (id text primary key, name text not null unique, what text not null);
