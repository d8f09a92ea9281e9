-- The transaction that published an event: followers read in an order that no later commit can change.
alter table sl_events add column xact bigint not null default 0;
create index sl_events_order on sl_events (xact, seq);
