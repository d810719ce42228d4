// Peer is the service's feed route as a Go program has it: net/http, pgx and its pool.
//
// per_item has the incident's form: a goroutine and a connection per item, one map, a WaitGroup. With -map=unsafe no
// lock guards the map, and the runtime ends the process when it sees two writers.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v4/pgxpool"
)

type video struct {
	Title string `json:"title"`
	Views int64  `json:"views"`
	Likes int64  `json:"likes"`
}

type feed struct {
	FeedID int64           `json:"feed_id"`
	Count  int             `json:"count"`
	Items  map[int64]video `json:"items"`
}

type failure struct {
	Ecode   int    `json:"ecode"`
	Message string `json:"message"`
}

var errNoFeed = errors.New("no such feed")

// The service's statements, with the parameters that they need here.
const (
	listSQL = `SELECT ids.id, ids.position FROM feed f LEFT JOIN LATERAL unnest(f.video_ids[1:$2::int]) ` +
		`WITH ORDINALITY AS ids(id, position) ON true WHERE f.id = $1 ORDER BY ids.position`
	videoSQL = `SELECT v.id, v.views, v.likes, v.title FROM video v WHERE v.id = $1`
	feedSQL  = `SELECT v.id, v.views, v.likes, v.title FROM feed f JOIN video v ON v.id = ANY (f.video_ids[1:$2::int]) ` +
		`WHERE f.id = $1 AND pg_typeof(f.video_ids[1:1]) = 'bigint[]'::regtype`
)

// withLatency makes a statement sleep once in the server, as the service's statements do.
func withLatency(sql string, latencyMS float64) string {
	if latencyMS == 0 {
		return sql
	}
	rtt := "WITH rtt AS MATERIALIZED (SELECT pg_sleep(" + strconv.FormatFloat(latencyMS/1000, 'f', -1, 64) + ")) "
	return rtt + strings.Replace(sql, " FROM ", " FROM rtt, ", 1)
}

type server struct {
	pool                       *pgxpool.Pool
	listSQL, videoSQL, feedSQL string
	timeout                    time.Duration
	perItem, unsafe            bool
}

func (s *server) batched(ctx context.Context, id int64, items int) (map[int64]video, error) {
	rows, err := s.pool.Query(ctx, s.feedSQL, id, items)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	result := make(map[int64]video, items)
	for rows.Next() {
		var key int64
		var v video
		if err := rows.Scan(&key, &v.Views, &v.Likes, &v.Title); err != nil {
			return nil, err
		}
		result[key] = v
	}
	return result, rows.Err()
}

func (s *server) list(ctx context.Context, id int64, items int) ([]int64, error) {
	rows, err := s.pool.Query(ctx, s.listSQL, id, items)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	ids := make([]int64, 0, items)
	for rows.Next() {
		var key, position int64
		if err := rows.Scan(&key, &position); err != nil {
			return nil, err
		}
		ids = append(ids, key)
	}
	return ids, rows.Err()
}

// each fetches the items, a goroutine each. The first error is the request's.
func (s *server) each(ctx context.Context, id int64, items int) (map[int64]video, error) {
	ids, err := s.list(ctx, id, items)
	if err != nil {
		return nil, err
	}
	result := make(map[int64]video)
	errs := make(chan error, len(ids))
	var lock sync.Mutex
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Add(1)
		go func(id int64) {
			defer wg.Done()
			var key int64
			var v video
			if err := s.pool.QueryRow(ctx, s.videoSQL, id).Scan(&key, &v.Views, &v.Likes, &v.Title); err != nil {
				errs <- err
				return
			}
			if !s.unsafe {
				lock.Lock()
				defer lock.Unlock()
			}
			result[key] = v
		}(id)
	}
	wg.Wait()
	close(errs)
	return result, <-errs
}

func (s *server) fetch(ctx context.Context, id int64, items int) (map[int64]video, error) {
	query := s.batched
	if s.perItem {
		query = s.each
	}
	result, err := query(ctx, id, items)
	if err == nil && len(result) == 0 {
		err = errNoFeed
	} else if err == nil && len(result) != items {
		err = errors.New("incomplete answer")
	}
	return result, err
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), s.timeout)
	defer cancel()
	id, err := strconv.ParseInt(strings.TrimPrefix(r.URL.Path, "/v1/feeds/"), 10, 64)
	items := 300
	if text := r.URL.Query().Get("items"); err == nil && text != "" {
		items, err = strconv.Atoi(text)
	}
	if err != nil || id < 1 || items < 1 || items > 1000 {
		answer(w, http.StatusBadRequest, failure{-400, "feed_id and items must be positive integers"})
		return
	}
	result, err := s.fetch(ctx, id, items)
	switch {
	case err == nil:
		answer(w, http.StatusOK, feed{id, len(result), result})
	case errors.Is(err, errNoFeed):
		answer(w, http.StatusNotFound, failure{-404, err.Error()})
	case errors.Is(err, context.DeadlineExceeded):
		answer(w, http.StatusGatewayTimeout, failure{-504, err.Error()})
	default:
		answer(w, http.StatusBadGateway, failure{-502, err.Error()})
	}
}

func answer(w http.ResponseWriter, status int, document interface{}) {
	body, err := json.Marshal(document)
	if err != nil {
		log.Panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller may be gone
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`address`")
	query := flag.String("query", "batched", "batched or per_item")
	resultMap := flag.String("map", "mutex", "mutex or unsafe")
	size := flag.Int("pool", 20, "connections")
	timeoutMS := flag.Int("timeout-ms", 1000, "a request's deadline")
	latencyMS := flag.Float64("latency-ms", 0, "a round trip's cost, spent in the server per statement")
	flag.Parse()

	config, err := pgxpool.ParseConfig(os.Getenv("FLASHOVER_DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	config.MaxConns, config.MinConns = int32(*size), int32(*size)
	config.ConnConfig.RuntimeParams["application_name"] = "flashover-peer-go"
	pool, err := pgxpool.ConnectConfig(context.Background(), config)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/v1/feeds/", &server{
		pool:     pool,
		listSQL:  withLatency(listSQL, *latencyMS),
		videoSQL: withLatency(videoSQL, *latencyMS),
		feedSQL:  withLatency(feedSQL, *latencyMS),
		timeout:  time.Duration(*timeoutMS) * time.Millisecond,
		perItem:  *query == "per_item",
		unsafe:   *resultMap == "unsafe",
	})
	log.Fatal(http.ListenAndServe(*listen, nil))
}
