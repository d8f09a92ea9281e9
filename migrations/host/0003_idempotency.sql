-- Answers of POST requests that carried an Idempotency-Key, written in the transaction of their effect.
create table sl_idempotency (
    tenant     text not null,
    actor      text not null,
    key        text not null,
    route      text not null,
    body_hash  text not null,   -- of method, target and body
    state      text not null,   -- 'kept', or 'withheld': the body is secret, streamed or too large, and was not kept
    status     bigint not null,
    type       text,
    headers    text not null,
    body       {{blob}} not null,
    created_at bigint not null,
    primary key (tenant, actor, key)
);
create index sl_idempotency_created on sl_idempotency (created_at);
