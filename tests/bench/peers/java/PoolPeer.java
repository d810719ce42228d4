import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.PrintWriter;
import java.lang.management.ManagementFactory;
import java.lang.reflect.Proxy;
import java.sql.Connection;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import java.util.logging.Logger;
import javax.sql.DataSource;

/**
 * Measures checkout and check-in of HikariCP over connections that answer at once, in the cells of tests/bench/pool_bench.c,
 * and prints the same JSON.
 */
public final class PoolPeer {
    private static final int[][] CELLS = {{1, 1}, {32, 16}, {300, 20}, {300, 100}, {1000, 20}};
    private static final long WARM_UP_NS = TimeUnit.MILLISECONDS.toNanos(500);
    private static final long HOLD_MS = 5;
    private static final int BATCH = 1000; // cycles between two readings of the clock when single cycles are timed
    private static final long PATIENCE_MS = TimeUnit.MINUTES.toMillis(10);

    private PoolPeer() {}

    /** A source of connections that are always valid and run no statements. */
    private static final class Stub implements DataSource {
        @Override public Connection getConnection() {
            return (Connection) Proxy.newProxyInstance(PoolPeer.class.getClassLoader(), new Class<?>[] {Connection.class},
                (connection, method, arguments) -> {
                    switch (method.getName()) {
                        case "isValid":
                        case "getAutoCommit":
                            return true;
                        case "isReadOnly":
                        case "isClosed":
                            return false;
                        case "hashCode":
                            return System.identityHashCode(connection);
                        case "equals":
                            return connection == arguments[0];
                        case "toString":
                            return "stub";
                        default:
                            return method.getReturnType() == int.class ? (Object) 0 : null;
                    }
                });
        }
        @Override public Connection getConnection(String user, String password) { return getConnection(); }
        @Override public PrintWriter getLogWriter() { return null; }
        @Override public void setLogWriter(PrintWriter writer) {}
        @Override public void setLoginTimeout(int seconds) {}
        @Override public int getLoginTimeout() { return 0; }
        @Override public Logger getParentLogger() { return Logger.getGlobal(); }
        @Override public boolean isWrapperFor(Class<?> type) { return false; }
        @Override public <T> T unwrap(Class<T> type) throws SQLException { throw new SQLException("it wraps nothing"); }
    }

    /** The waits of one thread, in ns. */
    private static final class Worker extends Thread {
        private final HikariDataSource pool;
        private final long holdMs;
        private final long fromNs;
        private final long untilNs;
        private long[] waits = new long[1024];
        private int count;

        Worker(HikariDataSource pool, long holdMs, long fromNs, long untilNs) {
            this.pool = pool;
            this.holdMs = holdMs;
            this.fromNs = fromNs;
            this.untilNs = untilNs;
        }

        @Override public void run() {
            try {
                for (long asked = System.nanoTime(); asked < untilNs; asked = System.nanoTime()) {
                    long got;
                    try (Connection connection = pool.getConnection()) {
                        got = System.nanoTime();
                        if (holdMs > 0) {
                            Thread.sleep(holdMs);
                        }
                    }
                    if (asked >= fromNs) {
                        record(got - asked);
                    }
                }
            } catch (SQLException | InterruptedException failure) {
                throw new IllegalStateException(failure);
            }
        }

        private void record(long waitNs) {
            if (count == waits.length) {
                waits = Arrays.copyOf(waits, 2 * count);
            }
            waits[count++] = waitNs;
        }
    }

    private static HikariDataSource openPool(int connections) throws SQLException {
        HikariConfig config = new HikariConfig();
        config.setDataSource(new Stub());
        config.setMaximumPoolSize(connections);
        config.setConnectionTimeout(PATIENCE_MS);
        HikariDataSource pool = new HikariDataSource(config);
        List<Connection> held = new ArrayList<>();
        for (int i = 0; i < connections; i++) {
            held.add(pool.getConnection());
        }
        for (Connection connection : held) {
            connection.close();
        }
        return pool;
    }

    private static double cpuNs() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    private static void sleepUntil(long atNs) throws InterruptedException {
        TimeUnit.NANOSECONDS.sleep(Math.max(0, atNs - System.nanoTime()));
    }

    /** The nearest rank of sorted waits, in ms. */
    private static double percentile(long[] sorted, double percent) {
        return sorted.length == 0 ? 0 : sorted[Math.max(0, (int) Math.ceil(percent / 100 * sorted.length) - 1)] / 1e6;
    }

    private static String measure(int threads, int connections, long holdMs, long windowNs)
        throws SQLException, InterruptedException {
        try (HikariDataSource pool = openPool(connections)) {
            long fromNs = System.nanoTime() + WARM_UP_NS;
            List<Worker> workers = new ArrayList<>();
            for (int i = 0; i < threads; i++) {
                workers.add(new Worker(pool, holdMs, fromNs, fromNs + windowNs));
            }
            workers.forEach(Thread::start);
            sleepUntil(fromNs);
            double before = cpuNs();
            long began = System.nanoTime();
            sleepUntil(fromNs + windowNs);
            double cores = (cpuNs() - before) / (System.nanoTime() - began);
            for (Worker worker : workers) {
                worker.join();
            }
            return figures(workers, connections, holdMs, windowNs, cores);
        }
    }

    private static String figures(List<Worker> workers, int connections, long holdMs, long windowNs, double cores) {
        long[] waits = workers.stream().flatMapToLong(worker -> Arrays.stream(worker.waits, 0, worker.count)).sorted().toArray();
        return String.format(Locale.ROOT, "{\"threads\": %d, \"connections\": %d, \"hold_ms\": %d, \"cycles_per_s\": %.1f, "
            + "\"wait_p50_ms\": %.6f, \"wait_p99_ms\": %.6f, \"wait_p99_9_ms\": %.6f, \"wait_max_ms\": %.6f, "
            + "\"fewest_cycles\": %d, \"most_cycles\": %d, \"cpu_cores\": %.3f}", workers.size(), connections, holdMs,
            waits.length / (windowNs / 1e9), percentile(waits, 50), percentile(waits, 99), percentile(waits, 99.9),
            percentile(waits, 100), workers.stream().mapToInt(worker -> worker.count).min().orElse(0),
            workers.stream().mapToInt(worker -> worker.count).max().orElse(0), cores);
    }

    /** The ns of a cycle without contention: the median of batches. */
    private static double cycleNs(long windowNs) throws SQLException {
        try (HikariDataSource pool = openPool(1)) {
            List<Double> batches = new ArrayList<>();
            long fromNs = System.nanoTime() + WARM_UP_NS;
            for (long began = System.nanoTime(); began < fromNs + windowNs; began = System.nanoTime()) {
                for (int i = 0; i < BATCH; i++) {
                    pool.getConnection().close();
                }
                if (began >= fromNs) {
                    batches.add((System.nanoTime() - began) / (double) BATCH);
                }
            }
            batches.sort(null);
            return batches.get(batches.size() / 2);
        }
    }

    public static void main(String[] arguments) throws SQLException, InterruptedException {
        String seconds = System.getenv().getOrDefault("BENCH_SECONDS", "3");
        long windowNs = (long) (Double.parseDouble(seconds) * 1e9);
        List<String> runs = new ArrayList<>();
        for (int[] cell : CELLS) {
            for (long holdMs : new long[] {0, HOLD_MS}) {
                runs.add(measure(cell[0], cell[1], holdMs, windowNs));
            }
        }
        System.out.printf(Locale.ROOT, "{\"runs\": [%s], \"uncontended_cycle_ns\": %.1f}%n", String.join(", ", runs), cycleNs(windowNs));
    }
}
