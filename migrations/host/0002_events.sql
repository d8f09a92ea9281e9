-- The outbox: every event published, in order, and who subscribes to what over all replicas.
create table sl_events (
    seq {{serial}},
    id text not null,
    topic text not null,
    key text,
    tenant text,
    source text not null,
    json text,
    created_at bigint not null
);
create unique index sl_events_id on sl_events (id);
create index sl_events_topic on sl_events (topic, id);

create table sl_subscriptions (
    topic text not null,
    module text not null,
    seen_at bigint not null,
    primary key (topic, module)
);
