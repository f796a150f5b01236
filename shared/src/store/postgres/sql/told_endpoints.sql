-- What a request to each of the endpoints $1 needs.
select e.id, e.url, e.secret, e.headers,
       array(
         select o.secret
           from old_secrets o
          where o.endpoint_id = e.id and clock_timestamp() < o.live_until
          order by o.live_until desc
       ) as old_secrets
  from endpoints e
 where e.id = any($1)
