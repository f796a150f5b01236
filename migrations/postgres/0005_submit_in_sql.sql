-- A brief handed in by whoever shares this database, in a transaction of theirs. See docs/sql.md.
--
-- It writes one row and waits for nobody: the build has no rank yet, and gets one by the first claim
-- that sees it committed (`parked_on = 'turn'`), so that a transaction that stays open holds up no one.

create schema if not exists buildfleet;

-- Blank is what Rust takes for blank, whatever the database was made for.
create function buildfleet.is_blank(word text) returns boolean
  language sql immutable strict parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select btrim(word, E' \t\n\r\f\u000b\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005'
                     '\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000') = ''
$$;

-- An id as the programs draw it: milliseconds since 1970 and 80 bits of chance in Crockford's base 32.
create function buildfleet.draw_id(prefix text) returns text
  language plpgsql volatile
  set search_path = pg_catalog, pg_temp
as $$
declare
  letters constant text := '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
  now_ms  constant bigint := floor(extract(epoch from clock_timestamp()) * 1000)::bigint;
  -- Those of its bytes that a UUID leaves to chance: the first six, and the last seven.
  drawn   constant bytea := uuid_send(gen_random_uuid());
  halves  bigint[] := array[
    ('x' || encode(substring(drawn from 1 for 5), 'hex'))::bit(40)::bigint,
    ('x' || encode(substring(drawn from 6 for 1) || substring(drawn from 10 for 4), 'hex'))
      ::bit(40)::bigint
  ];
  id      text := '';
begin
  for place in reverse 9..0 loop
    id := id || substr(letters, (((now_ms >> (5 * place)) & 31) + 1)::integer, 1);
  end loop;
  for half in 1..2 loop
    for place in reverse 7..0 loop
      id := id || substr(letters, (((halves[half] >> (5 * place)) & 31) + 1)::integer, 1);
    end loop;
  end loop;
  return prefix || '_' || id;
end
$$;

-- What is wrong with a request, as [{"field", "message"}]; empty if it can be accepted. The bounds
-- and the words are those of the HTTP API.
create function buildfleet.faults(prompt text, options jsonb, tenant text, idempotency_key text)
  returns jsonb
  language plpgsql immutable
  set search_path = pg_catalog, buildfleet, pg_temp
as $$
declare
  known  constant text[] := array[
    'project_type', 'framework', 'complexity', 'features', 'project_id', 'provider',
    'require_approval', 'on_task_failure', 'on_loss', 'priority', 'deadline_secs', 'limit_key', 'budget',
    'cache', 'metadata'];
  faults jsonb := '[]';
  name   text;
  value  jsonb;
  word   text;
  place  integer;
begin
  if prompt is null or buildfleet.is_blank(prompt) then
    faults := faults || buildfleet.fault('prompt', 'must say what to build');
  elsif 20000 < char_length(prompt) then
    faults := faults || buildfleet.fault('prompt', format(
      'must have at most 20000 characters, not %s', char_length(prompt)));
  end if;
  if tenant is null or buildfleet.is_blank(tenant) or 100 < char_length(tenant) then
    faults := faults || buildfleet.fault('tenant', 'must have 1 to 100 characters');
  end if;
  if idempotency_key is not null and idempotency_key !~ '^[!-~]{1,255}$' then
    faults := faults || buildfleet.fault('idempotency_key',
      'must have 1 to 255 visible ASCII characters');
  end if;
  if options is null then
    return faults;
  elsif jsonb_typeof(options) <> 'object' then
    return faults || buildfleet.fault('options', 'must be an object such as {"priority": 2}');
  end if;

  for name, value in select o.key, o.value from jsonb_each(options) o order by o.key loop
    -- Null is as good as absent.
    continue when value = 'null' and name = any(known);
    case
      when name in ('webhook', 'prompt', 'tenant') then
        faults := faults || buildfleet.fault(name, case name
          when 'webhook' then 'is for POST /v1/builds alone: its target is checked there'
          else 'is an argument of its own, not an option' end);
      when not name = any(known) then
        faults := faults || buildfleet.fault(name,
          'is not a field here; there are ' || array_to_string(known, ', '));
      when name in ('project_type', 'framework', 'project_id', 'limit_key') then
        word := value #>> '{}';
        if jsonb_typeof(value) <> 'string' then
          faults := faults || buildfleet.fault(name, 'must be a string');
        elsif buildfleet.is_blank(word) or 100 < char_length(word) then
          faults := faults || buildfleet.fault(name, 'must have 1 to 100 characters');
        end if;
      when name in ('require_approval', 'cache') then
        if jsonb_typeof(value) <> 'boolean' then
          faults := faults || buildfleet.fault(name, 'must be true or false');
        end if;
      when name = 'complexity' then
        if value not in ('"simple"', '"moderate"', '"complex"') then
          faults := faults || buildfleet.fault(name, 'must be one of simple, moderate, complex');
        end if;
      when name = 'on_task_failure' then
        if value not in ('"continue"', '"fail_fast"') then
          faults := faults || buildfleet.fault(name, 'must be one of continue, fail_fast');
        end if;
      when name = 'on_loss' then
        if value not in ('"skip"', '"continue"', '"fail_fast"', '"always_run"') then
          faults := faults || buildfleet.fault(name,
            'must be one of skip, continue, fail_fast, always_run');
        end if;
      when name = 'provider' then
        if value <> '"rules"' then
          faults := faults || buildfleet.fault(name,
            'must be "rules": this fleet has no other provider');
        end if;
      when name = 'priority' then
        if not buildfleet.is_whole(value, 1, 5) then
          faults := faults || buildfleet.fault(name, 'must be between 1 (first) and 5 (last)');
        end if;
      when name = 'deadline_secs' then
        if not buildfleet.is_whole(value, 1, 604800) then
          faults := faults || buildfleet.fault(name, 'must be between 1 and 604800');
        end if;
      when name = 'features' then
        if jsonb_typeof(value) <> 'array' then
          faults := faults || buildfleet.fault(name, 'must be a list of strings');
          continue;
        end if;
        if 50 < jsonb_array_length(value) then
          faults := faults || buildfleet.fault(name, 'must list at most 50 features');
          continue;
        end if;
        for place in 0 .. jsonb_array_length(value) - 1 loop
          word := value ->> place;
          if jsonb_typeof(value -> place) <> 'string' then
            faults := faults || buildfleet.fault(format('features[%s]', place),
              'must be a string');
          elsif buildfleet.is_blank(word) or 500 < char_length(word) then
            faults := faults || buildfleet.fault(format('features[%s]', place),
              'must have 1 to 500 characters');
          end if;
        end loop;
      when name = 'budget' then
        faults := faults || buildfleet.budget_faults(value);
      when name = 'metadata' then
        if jsonb_typeof(value) <> 'object' then
          faults := faults || buildfleet.fault(name, 'must be an object');
        elsif 16384 < octet_length(value::text) then
          faults := faults || buildfleet.fault(name, 'must have at most 16384 bytes as JSON');
        end if;
    end case;
  end loop;
  return faults;
end
$$;

create function buildfleet.fault(field text, message text) returns jsonb
  language sql immutable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('field', field, 'message', message)
$$;

-- 3.0 is as good as 3.
create function buildfleet.is_whole(value jsonb, lowest numeric, highest numeric) returns boolean
  language plpgsql immutable parallel safe
  set search_path = pg_catalog, pg_temp
as $$
declare
  number numeric;
begin
  if jsonb_typeof(value) <> 'number' then
    return false;
  end if;
  number := (value #>> '{}')::numeric;
  return number = trunc(number) and number between lowest and highest;
end
$$;

create function buildfleet.budget_faults(budget jsonb) returns jsonb
  language plpgsql immutable
  set search_path = pg_catalog, buildfleet, pg_temp
as $$
declare
  faults jsonb := '[]';
  name   text;
  value  jsonb;
begin
  if jsonb_typeof(budget) <> 'object' then
    return faults || buildfleet.fault('budget', 'must be an object');
  end if;
  for name, value in select b.key, b.value from jsonb_each(budget) b order by b.key loop
    continue when value = 'null' and name in ('max_cost_usd', 'max_tokens');
    case name
      when 'max_cost_usd' then
        if jsonb_typeof(value) <> 'number'
           or not (value #>> '{}')::numeric between 0 and 1000000 then
          faults := faults || buildfleet.fault('budget.max_cost_usd',
            'must be a number of US dollars between 0 and 1000000');
        end if;
      when 'max_tokens' then
        if not buildfleet.is_whole(value, 0, 18446744073709551615) then
          faults := faults || buildfleet.fault('budget.max_tokens',
            'must be a whole number of at least 0');
        end if;
      else
        faults := faults || buildfleet.fault('budget.' || name,
          'is not a field here; there are max_cost_usd, max_tokens');
    end case;
  end loop;
  return faults;
end
$$;

-- A checked request as the programs read it back: the fields of `Brief`, in their order.
create function buildfleet.brief(prompt text, options jsonb) returns json
  language plpgsql immutable
  set search_path = pg_catalog, pg_temp
as $$
declare
  micro_usd float8 := (options #>> '{budget,max_cost_usd}')::float8 * 1e6;
begin
  -- Half a millionth counts as a whole one.
  micro_usd := floor(micro_usd) + case when 0.5 <= micro_usd - floor(micro_usd) then 1 else 0 end;
  return json_build_object(
    'prompt', prompt,
    'project_type', options ->> 'project_type',
    'framework', options ->> 'framework',
    'complexity', options ->> 'complexity',
    'features', coalesce(nullif(options -> 'features', 'null'), '[]'),
    'project_id', options ->> 'project_id',
    'require_approval', coalesce((options ->> 'require_approval')::boolean, false),
    'on_task_failure', coalesce(options ->> 'on_task_failure', 'continue'),
    'on_loss', coalesce(options ->> 'on_loss', 'skip'),
    'priority', coalesce(trunc((options ->> 'priority')::numeric), 3),
    'deadline_secs', trunc((options ->> 'deadline_secs')::numeric),
    'limit_key', options ->> 'limit_key',
    'budget', json_build_object(
      'microusd_max', micro_usd::bigint,
      'tokens_max', trunc((options #>> '{budget,max_tokens}')::numeric)),
    'cache', coalesce((options ->> 'cache')::boolean, true),
    'metadata', coalesce(nullif(options -> 'metadata', 'null'), '{}'));
end
$$;

-- Hands a brief in, and answers with the id of its build; that of the earlier build if the tenant has
-- used the key before for the same request.
--
-- SQLSTATE 22023: the request is not as it must be; the column names the first bad field, the detail
-- lists all of them. SQLSTATE 23505: the key was used for another request.
create function buildfleet.submit(
  prompt          text,
  options         jsonb default '{}',
  tenant          text default 'default',
  idempotency_key text default null
) returns text
  language plpgsql volatile
  -- Whoever may call it may submit for any tenant, and needs no right on any table.
  security definer
as $$
#variable_conflict use_column
declare
  faults  constant jsonb := buildfleet.faults(
    submit.prompt, submit.options, submit.tenant, submit.idempotency_key);
  asked   constant json := case when faults = '[]' then buildfleet.brief(
    submit.prompt, coalesce(submit.options, '{}')) end;
  -- A request by HTTP is hashed as it came; one that came this way is never the same.
  hash    constant text := encode(sha256(convert_to('sql ' || asked::text, 'UTF8')), 'hex');
  drawn   constant text := buildfleet.draw_id('bld');
  earlier record;
begin
  if faults <> '[]' then
    raise exception using
      errcode = 'invalid_parameter_value',
      message = (select string_agg(format('%s %s', f ->> 'field', f ->> 'message'), '; ')
                   from jsonb_array_elements(faults) f),
      column = faults #>> '{0,field}',
      detail = faults::text;
  end if;

  insert into builds
    (id, tenant, brief, priority, project_id, on_task_failure, state, idempotency_key, request_hash,
     due_at, deadline_at, limit_key, cache, rank, parked_on)
  values
    (drawn, submit.tenant, asked, (asked ->> 'priority')::smallint, asked ->> 'project_id',
     asked ->> 'on_task_failure', 'queued', submit.idempotency_key,
     case when submit.idempotency_key is not null then hash end,
     clock_timestamp(),
     clock_timestamp() + make_interval(secs => (asked ->> 'deadline_secs')::float8),
     asked ->> 'limit_key', (asked ->> 'cache')::boolean, 0, 'turn')
  -- Waits for a submit with the same key that is under way, and then finds its build.
  on conflict (tenant, idempotency_key) do nothing;
  if found then
    -- Heard when the transaction commits, and never if it does not.
    perform pg_notify('buildfleet_plans', drawn);
    return drawn;
  end if;

  select b.id, b.request_hash into earlier
    from builds b
   where b.tenant = submit.tenant and b.idempotency_key = submit.idempotency_key;
  if earlier.request_hash is distinct from hash then
    raise exception using
      errcode = 'unique_violation',
      message = 'idempotency_key was used for another request',
      column = 'idempotency_key',
      detail = earlier.id;
  end if;
  return earlier.id;
end
$$;

-- Its tables are found where they are, whatever path the caller has.
do $$
begin
  execute format(
    'alter function buildfleet.submit(text, jsonb, text, text) set search_path = %I, pg_temp',
    current_schema());
end
$$;

comment on function buildfleet.submit(text, jsonb, text, text) is
  'Hands a brief to buildfleet in this transaction, and answers with the id of its build.';

-- Nobody but the owner, until the operator says so.
revoke all on schema buildfleet from public;
revoke execute on all functions in schema buildfleet from public;

-- Serves giving ranks to what came this way.
create index builds_unranked on builds (id) where state = 'queued' and parked_on = 'turn';
