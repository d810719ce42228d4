import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/**
 * The service's feed route as a Java program has it: the JDK's HTTP server with a thread per request, HikariCP and pgjdbc.
 * per_item has a thread and a connection per item. Options: -name=value, as the Go peer's.
 */
public final class Peer {
    private record Video(String title, long views, long likes) {}

    // The service's statements, with the parameters that they need here.
    private static final String LIST = "feed f LEFT JOIN LATERAL unnest(f.video_ids[1:?::int]) WITH ORDINALITY "
        + "AS ids(id, position) ON true ";
    private static final String ITEMS = "items=";

    private final HikariDataSource pool;
    private final ExecutorService threads = Executors.newCachedThreadPool();
    private final String listSql;
    private final String videoSql;
    private final String feedSql;
    private final long timeoutMs;
    private final boolean perItem;
    private final boolean unsafe;

    private Peer(Map<String, String> options) {
        timeoutMs = Long.parseLong(options.getOrDefault("timeout-ms", "1000"));
        perItem = options.getOrDefault("query", "batched").equals("per_item");
        unsafe = options.getOrDefault("map", "mutex").equals("unsafe");
        double latencyS = Double.parseDouble(options.getOrDefault("latency-ms", "0")) / 1000;
        listSql = withLatency("SELECT ids.id, ids.position FROM " + LIST + "WHERE f.id = ? ORDER BY ids.position", latencyS);
        videoSql = withLatency("SELECT v.id, v.views, v.likes, v.title FROM video v WHERE v.id = ?", latencyS);
        feedSql = withLatency("SELECT v.id, v.views, v.likes, v.title FROM feed f JOIN video v ON v.id = ANY (f.video_ids[1:?::int]) "
            + "WHERE f.id = ? AND pg_typeof(f.video_ids[1:1]) = 'bigint[]'::regtype", latencyS);

        URI url = URI.create(System.getenv("FLASHOVER_DATABASE_URL"));
        String[] login = url.getUserInfo().split(":", 2);
        HikariConfig config = new HikariConfig();
        config.setJdbcUrl("jdbc:postgresql://" + url.getHost() + ":" + url.getPort() + url.getPath()
            + "?ApplicationName=flashover-peer-java");
        config.setUsername(login[0]);
        config.setPassword(login[1]);
        config.setMaximumPoolSize(Integer.parseInt(options.getOrDefault("pool", "20")));
        config.setConnectionTimeout(timeoutMs);
        pool = new HikariDataSource(config);
    }

    /** Makes a statement sleep once in the server, as the service's statements do. */
    private static String withLatency(String sql, double latencyS) {
        return latencyS == 0 ? sql
            : "WITH rtt AS MATERIALIZED (SELECT pg_sleep(" + latencyS + ")) " + sql.replaceFirst(" FROM ", " FROM rtt, ");
    }

    private PreparedStatement prepare(Connection connection, String sql) throws SQLException {
        PreparedStatement statement = connection.prepareStatement(sql);
        statement.setQueryTimeout((int) Math.max(1, timeoutMs / 1000));
        return statement;
    }

    private static void put(ResultSet row, Map<Long, Video> result) throws SQLException {
        result.put(row.getLong(1), new Video(row.getString(4), row.getLong(2), row.getLong(3)));
    }

    private Map<Long, Video> batched(long feed, int items) throws SQLException {
        Map<Long, Video> result = new HashMap<>();
        try (Connection connection = pool.getConnection(); PreparedStatement statement = prepare(connection, feedSql)) {
            statement.setInt(1, items);
            statement.setLong(2, feed);
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next()) {
                    put(rows, result);
                }
            }
        }
        return result;
    }

    private List<Long> list(long feed, int items) throws SQLException {
        List<Long> ids = new ArrayList<>();
        try (Connection connection = pool.getConnection(); PreparedStatement statement = prepare(connection, listSql)) {
            statement.setInt(1, items);
            statement.setLong(2, feed);
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next()) {
                    ids.add(rows.getLong(1));
                }
            }
        }
        return ids;
    }

    private Void fetchItem(long id, Map<Long, Video> result) throws SQLException {
        try (Connection connection = pool.getConnection(); PreparedStatement statement = prepare(connection, videoSql)) {
            statement.setLong(1, id);
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next()) {
                    put(rows, result);
                }
            }
        }
        return null;
    }

    private Map<Long, Video> perItem(long feed, int items)
        throws SQLException, InterruptedException, ExecutionException {
        long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMs);
        Map<Long, Video> result = unsafe ? new HashMap<>() : new ConcurrentHashMap<>();
        List<Callable<Void>> tasks = new ArrayList<>();
        for (long id : list(feed, items)) {
            tasks.add(() -> fetchItem(id, result));
        }
        for (Future<Void> task : threads.invokeAll(tasks, deadlineNs - System.nanoTime(), TimeUnit.NANOSECONDS)) {
            task.get();
        }
        return result;
    }

    private void answer(HttpExchange exchange) throws IOException {
        int status = 200;
        String body;
        try {
            long feed = Long.parseLong(exchange.getRequestURI().getPath().substring("/v1/feeds/".length()));
            String query = exchange.getRequestURI().getQuery();
            int items = query != null && query.startsWith(ITEMS) ? Integer.parseInt(query.substring(ITEMS.length())) : 300;
            if (feed < 1 || items < 1 || items > 1000) {
                throw new IllegalArgumentException();
            }
            Map<Long, Video> result = perItem ? perItem(feed, items) : batched(feed, items);
            status = result.size() == items ? 200 : result.isEmpty() ? 404 : 500;
            body = status == 200 ? json(feed, result) : error(status, status == 404 ? "no such feed" : "incomplete answer");
        } catch (IllegalArgumentException mistake) {
            status = 400;
            body = error(status, "feed_id and items must be positive integers");
        } catch (CancellationException late) {
            status = 504;
            body = error(status, "deadline exceeded");
        } catch (SQLException | ExecutionException | InterruptedException failure) {
            status = 502;
            body = error(status, String.valueOf(failure.getMessage()));
        }
        byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, bytes.length);
        exchange.getResponseBody().write(bytes);
        exchange.close();
    }

    private static String json(long feed, Map<Long, Video> result) {
        StringBuilder body = new StringBuilder(100 + 90 * result.size());
        body.append("{\"feed_id\":").append(feed).append(",\"count\":").append(result.size()).append(",\"items\":{");
        String comma = "";
        for (Map.Entry<Long, Video> entry : result.entrySet()) {
            Video video = entry.getValue();
            body.append(comma).append('"').append(entry.getKey()).append("\":{\"title\":");
            quote(body, video.title());
            body.append(",\"views\":").append(video.views()).append(",\"likes\":").append(video.likes()).append('}');
            comma = ",";
        }
        return body.append("}}").toString();
    }

    private static String error(int status, String message) {
        StringBuilder body = new StringBuilder().append("{\"ecode\":").append(-status).append(",\"message\":");
        quote(body, message);
        return body.append('}').toString();
    }

    private static void quote(StringBuilder body, String text) {
        body.append('"');
        for (int i = 0; i < text.length(); i++) {
            char letter = text.charAt(i);
            if (letter == '"' || letter == '\\') {
                body.append('\\').append(letter);
            } else if (letter < ' ') {
                body.append(String.format("\\u%04x", (int) letter));
            } else {
                body.append(letter);
            }
        }
        body.append('"');
    }

    public static void main(String[] arguments) throws IOException {
        Map<String, String> options = new HashMap<>();
        for (String argument : arguments) {
            String[] parts = argument.substring(1).split("=", 2);
            options.put(parts[0], parts[1]);
        }
        String[] listen = options.getOrDefault("listen", "127.0.0.1:8080").split(":");
        Peer peer = new Peer(options);
        HttpServer server = HttpServer.create(new InetSocketAddress(listen[0], Integer.parseInt(listen[1])), 1024);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/v1/feeds/", peer::answer);
        server.start();
    }
}
