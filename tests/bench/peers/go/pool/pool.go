// Pool measures checkout and check-in of database/sql's pool over a driver that answers at once, in the cells of
// tests/bench/pool_bench.c, and prints the same JSON.
package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"log"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	warmUp  = 500 * time.Millisecond
	holding = 5 * time.Millisecond
	batch   = 1000 // cycles between two readings of the clock when single cycles are timed
)

type cell struct{ goroutines, connections int }

var cells = []cell{{1, 1}, {32, 16}, {300, 20}, {300, 100}, {1000, 20}}

// stub is a driver and its connections. Nothing but their lending is asked of it.
type stub struct{}

var errStub = errors.New("the stub runs no statements")

func (stub) Open(string) (driver.Conn, error)             { return stub{}, nil }
func (stub) Connect(context.Context) (driver.Conn, error) { return stub{}, nil }
func (stub) Driver() driver.Driver                        { return stub{} }
func (stub) Prepare(string) (driver.Stmt, error)          { return nil, errStub }
func (stub) Begin() (driver.Tx, error)                    { return nil, errStub }
func (stub) Close() error                                 { return nil }

type figures struct {
	Threads     int     `json:"threads"`
	Connections int     `json:"connections"`
	HoldMS      float64 `json:"hold_ms"`
	CyclesPerS  float64 `json:"cycles_per_s"`
	P50MS       float64 `json:"wait_p50_ms"`
	P99MS       float64 `json:"wait_p99_ms"`
	P999MS      float64 `json:"wait_p99_9_ms"`
	MaxMS       float64 `json:"wait_max_ms"`
	Fewest      int     `json:"fewest_cycles"`
	Most        int     `json:"most_cycles"`
	Cores       float64 `json:"cpu_cores"`
}

func openPool(connections int) *sql.DB {
	db := sql.OpenDB(stub{})
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	held := make([]*sql.Conn, connections)
	for i := range held {
		held[i] = checkout(db)
	}
	for _, conn := range held {
		checkin(conn)
	}
	return db
}

func checkout(db *sql.DB) *sql.Conn {
	conn, err := db.Conn(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	return conn
}

func checkin(conn *sql.Conn) {
	if err := conn.Close(); err != nil {
		log.Fatal(err)
	}
}

func cpu() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		log.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// work repeats the cycle until it is stopped, and returns the waits that began in the measured window.
func work(db *sql.DB, hold time.Duration, from time.Time, stopped *int32) []time.Duration {
	var waits []time.Duration
	for atomic.LoadInt32(stopped) == 0 {
		asked := time.Now()
		conn := checkout(db)
		wait := time.Since(asked)
		if hold > 0 {
			time.Sleep(hold)
		}
		checkin(conn)
		if asked.After(from) {
			waits = append(waits, wait)
		}
	}
	return waits
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// percentile is the nearest rank of sorted waits.
func percentile(sorted []time.Duration, percent float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := int(percent/100*float64(len(sorted))+0.999999) - 1
	if at < 0 {
		at = 0
	}
	return ms(sorted[at])
}

func measure(c cell, hold, window time.Duration) figures {
	db := openPool(c.connections)
	defer db.Close()
	of := make([][]time.Duration, c.goroutines)
	from := time.Now().Add(warmUp)
	var stopped int32
	var wg sync.WaitGroup
	for i := range of {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			of[i] = work(db, hold, from, &stopped)
		}(i)
	}
	time.Sleep(time.Until(from))
	before, began := cpu(), time.Now()
	time.Sleep(window)
	cores := float64(cpu()-before) / float64(time.Since(began))
	atomic.StoreInt32(&stopped, 1)
	wg.Wait()

	var all []time.Duration
	f := figures{Threads: c.goroutines, Connections: c.connections, HoldMS: ms(hold), Fewest: len(of[0]), Cores: cores}
	for _, waits := range of {
		all = append(all, waits...)
		if len(waits) < f.Fewest {
			f.Fewest = len(waits)
		}
		if len(waits) > f.Most {
			f.Most = len(waits)
		}
	}
	sort.Slice(all, func(a, b int) bool { return all[a] < all[b] })
	f.CyclesPerS = float64(len(all)) / window.Seconds()
	f.P50MS, f.P99MS, f.P999MS, f.MaxMS = percentile(all, 50), percentile(all, 99), percentile(all, 99.9), percentile(all, 100)
	return f
}

// cycleNS is the time of a cycle without contention: the median of batches.
func cycleNS(window time.Duration) float64 {
	db := openPool(1)
	defer db.Close()
	var batches []float64
	from := time.Now().Add(warmUp)
	until := from.Add(window)
	for began := time.Now(); began.Before(until); began = time.Now() {
		for i := 0; i < batch; i++ {
			checkin(checkout(db))
		}
		if began.After(from) {
			batches = append(batches, float64(time.Since(began))/batch)
		}
	}
	sort.Float64s(batches)
	return batches[len(batches)/2]
}

func main() {
	window := 3 * time.Second
	if text := os.Getenv("BENCH_SECONDS"); text != "" {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil {
			log.Fatal(err)
		}
		window = time.Duration(seconds * float64(time.Second))
	}
	var runs []figures
	for _, c := range cells {
		for _, hold := range []time.Duration{0, holding} {
			runs = append(runs, measure(c, hold, window))
		}
	}
	document := map[string]interface{}{"runs": runs, "uncontended_cycle_ns": cycleNS(window)}
	if err := json.NewEncoder(os.Stdout).Encode(document); err != nil {
		log.Fatal(err)
	}
}
