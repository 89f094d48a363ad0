import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.InvocationTargetException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URL;
import java.net.URLClassLoader;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Executors;

/**
 * Apicurio Registry with Confluent's API at the root, where Confluent's clients look for it.
 *
 * <p>Apicurio has that API below /apis/ccompat/v7. It listens on the loopback here, and this server in the same process
 * hands every request on: paths of Apicurio's own as they are, all others below that prefix.
 */
public final class Gateway {
    private static final String CONFLUENT = "/apis/ccompat/v7";
    private static final List<String> OWN = List.of("/apis", "/api-specifications");

    /** Of one connection each, so not handed on (RFC 9110, 7.6.1), and those that the client sets by itself. */
    private static final Set<String> PER_CONNECTION =
            Set.of("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "host", "expect",
                    "proxy-connection", ":status");

    private final HttpClient client =
            HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(5)).build();
    private final String registry;

    private Gateway(int port) {
        registry = "http://127.0.0.1:" + port;
    }

    public static void main(String[] arguments) throws Exception {
        int outside = Integer.getInteger("gateway.port", 8081);
        int inside = Integer.getInteger("quarkus.http.port", 8080);
        HttpServer server = HttpServer.create(new InetSocketAddress(outside), 0);
        server.setExecutor(Executors.newFixedThreadPool(64));
        server.createContext("/", new Gateway(inside)::handle);
        server.start();
        makeTopics(Path.of(System.getProperty("registry.home", "/opt/registry")));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> server.stop(1)));
        Class.forName("io.quarkus.bootstrap.runner.QuarkusEntryPoint")
                .getMethod("main", String[].class)
                .invoke(null, (Object) arguments);
    }

    /** With Kafka's client as Apicurio has it, which is not on the class path. */
    private static void makeTopics(Path home) {
        List<URL> classes = new ArrayList<>();
        Thread thread = Thread.currentThread();
        ClassLoader before = thread.getContextClassLoader();
        try (DirectoryStream<Path> jars = Files.newDirectoryStream(home.resolve("lib/main"), "*.jar")) {
            classes.add(home.resolve("topics/").toUri().toURL());
            for (Path jar : jars) {
                classes.add(jar.toUri().toURL());
            }
            try (URLClassLoader loader = new URLClassLoader(classes.toArray(URL[]::new))) {
                thread.setContextClassLoader(loader);
                loader.loadClass("Topics").getMethod("make").invoke(null);
            }
        } catch (InvocationTargetException e) {
            System.err.println("topics are left to the registry to make: " + e.getCause());
        } catch (IOException | ReflectiveOperationException e) {
            System.err.println("topics are left to the registry to make: " + e);
        } finally {
            thread.setContextClassLoader(before);
        }
    }

    private void handle(HttpExchange exchange) throws IOException {
        try (exchange) {
            try {
                pass(exchange);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            } catch (IOException e) {
                // Confluent's clients try another registry at a 5xx.
                answer(exchange, 503, "{\"error_code\":50003,\"message\":\"the registry does not answer yet\"}");
            }
        }
    }

    private void pass(HttpExchange exchange) throws IOException, InterruptedException {
        URI asked = exchange.getRequestURI();
        if (asked.getRawPath().equals("/")) {
            answer(exchange, 200, "{}");
            return;
        }
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(registry + inside(asked)));
        request.timeout(Duration.ofMinutes(1));
        for (Map.Entry<String, List<String>> header : exchange.getRequestHeaders().entrySet()) {
            if (!PER_CONNECTION.contains(header.getKey().toLowerCase(Locale.ROOT))) {
                header.getValue().forEach(value -> request.header(header.getKey(), value));
            }
        }
        // Schemas are small: a body is read whole, so that its length is known.
        byte[] body = exchange.getRequestBody().readAllBytes();
        request.method(
                exchange.getRequestMethod(),
                body.length == 0 ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofByteArray(body));
        HttpResponse<InputStream> response = client.send(request.build(), HttpResponse.BodyHandlers.ofInputStream());
        byte[] answer;
        try (InputStream stream = response.body()) {
            answer = stream.readAllBytes();
        }
        response.headers().map().forEach((name, values) -> {
            if (!PER_CONNECTION.contains(name.toLowerCase(Locale.ROOT))) {
                exchange.getResponseHeaders().put(name, values);
            }
        });
        boolean bare = exchange.getRequestMethod().equals("HEAD") || answer.length == 0;
        exchange.sendResponseHeaders(response.statusCode(), bare ? -1 : answer.length);
        if (!bare) {
            exchange.getResponseBody().write(answer);
        }
    }

    private static String inside(URI asked) {
        String path = asked.getRawPath();
        boolean own = OWN.stream().anyMatch(prefix -> path.equals(prefix) || path.startsWith(prefix + "/"));
        String query = asked.getRawQuery() == null ? "" : "?" + asked.getRawQuery();
        return (own ? path : CONFLUENT + path) + query;
    }

    private static void answer(HttpExchange exchange, int status, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/vnd.schemaregistry.v1+json");
        exchange.sendResponseHeaders(status, bytes.length);
        exchange.getResponseBody().write(bytes);
    }
}
