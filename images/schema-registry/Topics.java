import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.errors.TopicExistsException;

/**
 * Makes the topics that Apicurio Registry keeps schemas in, before it starts.
 *
 * <p>Apicurio asks which topics there are and makes those that are not: of two replicas that start on an empty cluster
 * one ends with TopicExistsException. Here a topic that another replica has made meanwhile is as good as one's own. They
 * are made with Apicurio's settings and its defaults (3.3.3: up to three replicas, one fewer in sync, kept for ever), and
 * if that fails Apicurio does it as ever.
 */
public final class Topics {
    private static final String REGISTRY = "apicurio.kafkasql.";
    private static final String PARTITIONS = "partitions";
    private static final String REPLICATION = "replication.factor";
    /** Of one try, and of all. */
    private static final int SECONDS = 20;
    private static final int PATIENCE = 180;

    private Topics() {}

    public static void make() throws Exception {
        String servers = setting(REGISTRY + "bootstrap.servers", "");
        boolean wanted = setting("apicurio.storage.kind", "").equals("kafkasql");
        if (servers.isEmpty() || !wanted || !Boolean.parseBoolean(setting(REGISTRY + "topic.auto-create", "true"))) {
            System.out.println("topics are not made: that is not wanted");
            return;
        }
        Map<String, Object> client = new HashMap<>();
        client.put("bootstrap.servers", servers);
        client.put("client.id", "registry-topics");
        // As Apicurio has it by default.
        client.put("ssl.endpoint.identification.algorithm", "");
        client.put("request.timeout.ms", "5000");
        client.put("default.api.timeout.ms", Integer.toString(SECONDS * 1000));
        client.putAll(security());
        client.putAll(under("apicurio.kafka.common."));
        client.putAll(under(REGISTRY + "admin."));
        make(client);
        System.out.println("topics are there");
    }

    /** Brokers may start at the same time as this: they are waited for. */
    private static void make(Map<String, Object> client) throws Exception {
        long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE);
        while (true) {
            try {
                create(client);
                return;
            } catch (ExecutionException | TimeoutException e) {
                Throwable cause = e instanceof ExecutionException ? e.getCause() : e;
                boolean passes = cause instanceof RetriableException || cause instanceof TimeoutException;
                if (!passes || System.nanoTime() > until) {
                    throw e;
                }
                System.out.println("topics are not there yet: " + cause);
            } catch (KafkaException e) {
                // Names that are not known yet, among others.
                if (System.nanoTime() > until) {
                    throw e;
                }
                System.out.println("topics are not there yet: " + e + (e.getCause() == null ? "" : ": " + e.getCause()));
                Thread.sleep(1000);
            }
        }
    }

    private static void create(Map<String, Object> client) throws Exception {
        try (Admin admin = Admin.create(client)) {
            int brokers = admin.describeCluster().nodes().get(SECONDS, TimeUnit.SECONDS).size();
            List<NewTopic> topics = new ArrayList<>();
            Map<String, String> journal = under(REGISTRY + "topic.");
            journal.keySet().removeIf(key -> key.startsWith("auto.create") || key.startsWith("configuration.verification"));
            topics.add(topic(setting(REGISTRY + "topic", "kafkasql-journal"), Map.of(), journal, brokers));
            topics.add(topic(setting(REGISTRY + "snapshots.topic", "kafkasql-snapshots"), under(REGISTRY + "snapshots.topic."), journal, brokers));
            Map<String, String> events = under("apicurio.events.kafka.topic.");
            // Events have one order.
            events.put(PARTITIONS, "1");
            topics.add(topic(setting("apicurio.events.kafka.topic", "registry-events"), events, journal, brokers));
            for (var made : admin.createTopics(topics).values().values()) {
                try {
                    made.get(SECONDS, TimeUnit.SECONDS);
                } catch (ExecutionException e) {
                    if (!(e.getCause() instanceof TopicExistsException)) {
                        throw e;
                    }
                }
            }
        }
    }

    /** Kept for ever, on up to three brokers, unless the settings of the topic or of all of them say otherwise. */
    private static NewTopic topic(String name, Map<String, String> own, Map<String, String> common, int brokers) {
        Map<String, String> properties = new HashMap<>();
        properties.put("cleanup.policy", "delete");
        properties.put("retention.ms", "-1");
        properties.put("retention.bytes", "-1");
        properties.putAll(common);
        properties.putAll(own);
        Optional<Integer> partitions = Optional.ofNullable(properties.remove(PARTITIONS)).map(Integer::valueOf);
        String replicas = properties.remove(REPLICATION);
        short factor = replicas == null ? (short) Math.min(3, brokers) : Short.parseShort(replicas);
        // One broker may be away.
        properties.putIfAbsent("min.insync.replicas", Integer.toString(Math.max(factor - 1, 1)));
        return new NewTopic(name, partitions, Optional.of(factor)).configs(properties);
    }

    /** What Apicurio has names of its own for. */
    private static Map<String, String> security() {
        Map<String, String> found = new HashMap<>();
        String prefix = REGISTRY + "security.";
        for (String key : List.of("ssl.truststore.location", "ssl.truststore.type", "ssl.truststore.password", "ssl.keystore.location",
                "ssl.keystore.type", "ssl.keystore.password", "ssl.key.password")) {
            put(found, key, setting(prefix + key, ""));
        }
        put(found, "security.protocol", setting(prefix + "protocol", ""));
        if (Boolean.parseBoolean(setting(prefix + "sasl.enabled", "false"))) {
            put(found, "sasl.mechanism", setting(prefix + "sasl.mechanism", ""));
            put(found, "sasl.login.callback.handler.class", setting(prefix + "sasl.login.callback.handler.class", ""));
            found.put("sasl.jaas.config", String.format(
                    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"
                            + " oauth.client.id=\"%s\" oauth.client.secret=\"%s\" oauth.token.endpoint.uri=\"%s\";",
                    setting(prefix + "sasl.client-id", ""), setting(prefix + "sasl.client-secret", ""),
                    setting(prefix + "sasl.token.endpoint", "")));
        }
        return found;
    }

    private static void put(Map<String, String> into, String key, String value) {
        if (!value.isEmpty()) {
            into.put(key, value);
        }
    }

    /** A property of the JVM's or of the environment, where it is in capitals and every other character is _. */
    private static String setting(String name, String otherwise) {
        String value = System.getProperty(name, System.getenv(name.replaceAll("[^A-Za-z0-9]", "_").toUpperCase(Locale.ROOT)));
        return value == null ? otherwise : value;
    }

    /** All settings that begin with that, by the rest of their names. */
    private static Map<String, String> under(String prefix) {
        Map<String, String> found = new HashMap<>();
        String inEnvironment = prefix.replace('.', '_').toUpperCase(Locale.ROOT);
        System.getenv().forEach((name, value) -> {
            if (name.startsWith(inEnvironment)) {
                found.put(name.substring(inEnvironment.length()).toLowerCase(Locale.ROOT).replace('_', '.'), value);
            }
        });
        System.getProperties().stringPropertyNames().forEach(name -> {
            if (name.startsWith(prefix)) {
                found.put(name.substring(prefix.length()).replace('-', '.'), System.getProperty(name));
            }
        });
        return found;
    }
}
