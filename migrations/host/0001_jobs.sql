-- Durable jobs (waiting, running and dead), the history of their attempts, and the last tick of each schedule.
create table sl_jobs (
    id text primary key,
    kind text not null,
    key text,
    tenant text,
    json text,
    topic text,
    trace text,
    state text not null,
    run_at bigint not null,
    attempts bigint not null,
    max_attempts bigint not null,
    lease_until bigint,
    owner text,
    last_error text,
    created_at bigint not null,
    updated_at bigint not null
);

-- A dead job's key is free for a new job.
create unique index sl_jobs_key on sl_jobs (kind, key) where key is not null and state <> 'dead';

-- One index for each question that is asked all the time: what is due, what runs, what is dead. Those that run are few, and
-- looking one of them up by id must never be mistaken by a planner for a look through all of one owner's.
create index sl_jobs_due on sl_jobs (kind, run_at) where state = 'waiting';
create index sl_jobs_running on sl_jobs (id) where state = 'running';
create index sl_jobs_dead on sl_jobs (kind, key, id) where state = 'dead';

-- One row for each attempt, appended and never changed.
create table sl_job_runs (
    seq {{serial}},
    job_id text not null,
    kind text not null,
    key text,
    tenant text,
    attempt bigint not null,
    started_at bigint not null,
    finished_at bigint not null,
    outcome text not null,
    error text,
    replica text not null
);
create index sl_job_runs_job on sl_job_runs (job_id);

create table sl_schedules (
    name text primary key,
    last_tick bigint not null
);
