-- The data rule: each row follows from its number alone, so that the load tester can check every entry of every answer
-- without asking the database. 7919, 104729 and 100003 are primes: 100003 videos, and since 104729 is no multiple of
-- 100003, the 1000 positions of one feed hold 1000 different videos.

CREATE TABLE video (
    id bigint PRIMARY KEY,
    title text NOT NULL,
    views bigint NOT NULL,
    likes bigint NOT NULL
);

INSERT INTO video (id, title, views, likes)
SELECT id, 'Video ' || id, (id * 7919) % 1000003, (id * 104729) % 10007
FROM generate_series(1::bigint, 100003) AS id;

-- A feed holds its list ready made, as a fan-out-on-write timeline does. Element p is position p.
CREATE TABLE feed (
    id bigint PRIMARY KEY,
    video_ids bigint[] NOT NULL
);

INSERT INTO feed (id, video_ids)
SELECT f, ARRAY(
    SELECT 1 + (f * 7919 + p * 104729) % 100003
    FROM generate_series(1::bigint, 1000) AS p
    ORDER BY p
)
FROM generate_series(1::bigint, 1000) AS f;

-- Without this the first plans rest on guesses until autovacuum comes by.
ANALYZE video, feed;

GRANT SELECT ON video, feed TO flashover_app;

-- The end of a reset too (down all, up): a service that runs meanwhile reads the toggles again, which are all gone.
SELECT pg_notify('flashover_toggle', '');
