-- Who may call and for how long: tokens made at run time, sessions of users and wallets, and what was revoked.
create table sl_tokens (
    id           text primary key,
    name         text not null,
    hash         text not null unique,  -- SHA-256 of the token in hex; the token itself is kept nowhere
    role         text not null,
    scopes       text,                  -- JSON list; null = all that the role holds
    tenants      text not null,         -- JSON list; '*' = every one
    created_by   text not null,
    created_at   bigint not null,
    expires_at   bigint,
    last_used_at bigint,
    revoked_at   bigint,
    revoked_by   text
);

create table sl_sessions (
    id           text primary key,
    kind         text not null,         -- 'user' or 'wallet'
    subject      text not null,
    created_at   bigint not null,
    refreshed_at bigint not null,
    expires_at   bigint not null,
    revoked_at   bigint
);
create index sl_sessions_expires on sl_sessions (expires_at);

-- Refresh tokens, each good for one use. The used ones stay until their session ends: one that comes again was stolen.
create table sl_refresh (
    hash    text primary key,           -- SHA-256 in hex
    session text not null references sl_sessions (id) on delete cascade,
    used_at bigint
);
create index sl_refresh_session on sl_refresh (session);

-- Ids of tokens, sessions and outside JWTs that count no more; every replica reads what is new here.
create table sl_revocations (
    id         text primary key,
    revoked_at bigint not null,
    expires_at bigint not null          -- what it names has ended by then anyway
);
create index sl_revocations_revoked on sl_revocations (revoked_at);
create index sl_revocations_expires on sl_revocations (expires_at);

-- Challenges that wallets have answered: each is good for one sign-in.
create table sl_wallet_nonces (
    nonce      text primary key,
    expires_at bigint not null
);
create index sl_wallet_nonces_expires on sl_wallet_nonces (expires_at);
