import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.ExplainDetail;
import org.apache.flink.table.api.Table;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.table.catalog.ResolvedSchema;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/**
 * Runs golden queries on Apache Flink and writes what they give: the raw changelog, at parallelism 1,
 * with a watermark after each row, and where the query says so how far it was. The files' form is described in README.md; `refresh` runs this.
 */
public class Queries {
    static final Pattern INPUT = Pattern.compile("\\$\\{inputs\\}/([A-Za-z0-9_.-]+)");

    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[0]);
        Path results = Path.of(args[1]);
        boolean plans = args.length > 2 && args[2].equals("--plans");
        List<String> only = List.of(args).subList(Math.min(args.length, plans ? 3 : 2), args.length);
        List<Path> queries;
        try (var files = Files.list(folder.resolve("queries"))) {
            queries = files.sorted().collect(Collectors.toList());
        }
        int failed = 0;
        for (Path query : queries) {
            String name = query.getFileName().toString().replaceFirst("\\.sql$", "");
            if (!only.isEmpty() && !only.contains(name)) {
                continue;
            }
            try {
                List<String> lines = run(folder, query, plans);
                if (!plans) {
                    Files.write(results.resolve(name + ".txt"), lines, StandardCharsets.UTF_8);
                    System.out.println(name + ": " + (lines.size() - 2) + " rows");
                }
            } catch (Exception e) {
                failed++;
                Throwable cause = e;
                while (cause.getCause() != null) {
                    cause = cause.getCause();
                }
                System.out.println(name + ": " + cause);
            }
        }
        if (failed > 0) {
            System.out.println(failed + " failed");
            System.exit(1);
        }
    }

    static List<String> run(Path folder, Path query, boolean plan) throws Exception {
        String text = Files.readString(query);
        List<String> lines = new ArrayList<>();
        lines.add("# flink 2.1.1, query " + hash(List.of(query)) + ", inputs " + hash(inputs(folder, text)));

        Configuration configuration = new Configuration();
        configuration.setString("parallelism.default", "1");
        configuration.setString("pipeline.auto-watermark-interval", "0 ms");
        configuration.setString("table.local-time-zone", "UTC");
        configuration.setString("restart-strategy.type", "none");
        TableEnvironment env = TableEnvironment.create(
                EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(configuration).build());
        Path output = Files.createTempDirectory("golden").resolve("output");
        List<String> statements = statements(text
                .replace("${inputs}", folder.resolve("inputs").toAbsolutePath().toString())
                .replace("${output}", output.toString()));
        String last = statements.remove(statements.size() - 1);
        Pattern set = Pattern.compile("(?is)SET\\s+'([^']*)'\\s*=\\s*'([^']*)'");
        for (String statement : statements) {
            Matcher matcher = set.matcher(statement);
            if (matcher.matches()) {
                env.getConfig().set(matcher.group(1), matcher.group(2));
            } else {
                env.executeSql(statement);
            }
        }
        if (plan) {
            System.out.println("=== " + query.getFileName());
            System.out.println(env.explainSql(last, ExplainDetail.CHANGELOG_MODE));
            return lines;
        }
        if (last.startsWith("INSERT")) {
            env.executeSql(last).await();
            lines.add("");
            try (var files = Files.list(output)) {
                for (Path file : files.filter(f -> !f.getFileName().toString().startsWith(".")).sorted().collect(Collectors.toList())) {
                    for (String line : Files.readAllLines(file)) {
                        lines.add(row(line));
                    }
                }
            }
            return lines;
        }
        if (text.lines().findFirst().orElse("").contains(" per watermark")) {
            Table table = env.sqlQuery(last);
            lines.add(columns(table.getResolvedSchema()));
            lines.addAll(Watermarks.run(env, table));
            return lines;
        }
        TableResult result = env.executeSql(last);
        lines.add(columns(result.getResolvedSchema()));
        try (CloseableIterator<Row> rows = result.collect()) {
            while (rows.hasNext()) {
                lines.add(rows.next().toString());
            }
        }
        return lines;
    }

    static String columns(ResolvedSchema schema) {
        return schema.getColumns().stream()
                .map(c -> c.getName() + " " + c.getDataType().getLogicalType().asSerializableString())
                .collect(Collectors.joining(", "));
    }

    /** A record of Debezium as a row: its kind, and its columns as they are written. */
    static String row(String record) {
        String created = "{\"before\":null,\"after\":";
        String deleted = "{\"before\":";
        return record.startsWith(created)
                ? "+I" + record.substring(created.length(), record.length() - ",\"op\":\"c\"}".length())
                : "-D" + record.substring(deleted.length(), record.length() - ",\"after\":null,\"op\":\"d\"}".length());
    }

    /** The statements of a script; each ends with a semicolon at the end of a line. */
    static List<String> statements(String text) {
        String code = text.lines().filter(l -> !l.startsWith("--")).collect(Collectors.joining("\n"));
        List<String> statements = new ArrayList<>();
        for (String part : code.split(";\\s*(\\n|$)")) {
            if (!part.isBlank()) {
                statements.add(part.strip());
            }
        }
        return statements;
    }

    static List<Path> inputs(Path folder, String text) {
        TreeSet<String> names = new TreeSet<>();
        Matcher matcher = INPUT.matcher(text);
        while (matcher.find()) {
            names.add(matcher.group(1));
        }
        return names.stream().map(n -> folder.resolve("inputs").resolve(n)).collect(Collectors.toList());
    }

    static String hash(List<Path> files) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        for (Path file : files) {
            digest.update(Files.readAllBytes(file));
        }
        return HexFormat.of().formatHex(digest.digest()).substring(0, 16);
    }
}
