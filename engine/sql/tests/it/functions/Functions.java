import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Collectors;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/**
 * What Apache Flink says of its functions: their names, and for each line of functions.tsv (a name and an
 * expression over the table of input.sql) the type and the value in each row of input.json. `refresh` runs this.
 */
public class Functions {
    /** Expressions of a job: each job costs time, and too many make a method too large. */
    static final int TOGETHER = 30;

    static TableEnvironment env;

    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[0]);
        Path output = Path.of(args[1]);
        Configuration configuration = new Configuration();
        configuration.setString("parallelism.default", "1");
        configuration.setString("table.local-time-zone", "America/Los_Angeles");
        configuration.setString("restart-strategy.type", "none");
        env = TableEnvironment.create(
                EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(configuration).build());

        List<String> names = new ArrayList<>();
        names.add("# SHOW FUNCTIONS of Apache Flink 2.1.1, in the order it gives: refresh asks it.");
        for (Row row : rows("SHOW FUNCTIONS")) {
            names.add(row.getFieldAs(0));
        }
        Files.write(output.resolve("show-functions.txt"), names);

        Path input = folder.resolve("input.json");
        env.executeSql(Files.readString(folder.resolve("input.sql"))
                .replace("${input}", input.toAbsolutePath().toString()));
        List<String> lines = new ArrayList<>();
        List<String> expressions = new ArrayList<>();
        for (String line : Files.readAllLines(folder.resolve("functions.tsv"))) {
            if (!line.startsWith("#")) {
                String[] parts = line.split("\t");
                lines.add(parts[0] + "\t" + parts[1]);
                expressions.add(parts[1]);
            }
        }
        String of = String.join("\n", lines) + "\n";
        List<String> results = new ArrayList<>();
        results.add("# flink 2.1.1, expressions " + hash(of.getBytes(StandardCharsets.UTF_8))
                + ", input " + hash(Files.readAllBytes(folder.resolve("input.sql")), Files.readAllBytes(input)));
        for (int i = 0; i < lines.size(); i += TOGETHER) {
            int end = Math.min(i + TOGETHER, lines.size());
            List<String> some = values(expressions.subList(i, end));
            for (int j = i; j < end; j++) {
                results.add(lines.get(j) + "\t" + type(expressions.get(j)) + "\t" + some.get(j - i));
            }
        }
        Files.write(output.resolve("functions.tsv"), results);
    }

    /** The values of each expression in all rows; of one that fails only that it does. */
    static List<String> values(List<String> expressions) {
        String select = expressions.stream()
                .map(e -> "CAST(" + e + " AS STRING)")
                .collect(Collectors.joining(", ", "SELECT ", " FROM input"));
        try {
            List<Row> rows = rows(select);
            List<String> values = new ArrayList<>();
            for (int i = 0; i < expressions.size(); i++) {
                int column = i;
                values.add(rows.stream().map(r -> text(r.getFieldAs(column))).collect(Collectors.joining("\t")));
            }
            return values;
        } catch (Exception e) {
            if (expressions.size() > 1) {
                return expressions.stream().map(x -> values(List.of(x)).get(0)).collect(Collectors.toList());
            }
            Throwable cause = e;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            System.out.println(expressions.get(0) + ": " + cause.getMessage());
            return List.of("ERROR");
        }
    }

    static String type(String expression) {
        try {
            return env.sqlQuery("SELECT " + expression + " AS x FROM input")
                    .getResolvedSchema().getColumnDataTypes().get(0).toString();
        } catch (Exception e) {
            return "REFUSED";
        }
    }

    static List<Row> rows(String statement) throws Exception {
        List<Row> rows = new ArrayList<>();
        try (CloseableIterator<Row> result = env.executeSql(statement).collect()) {
            result.forEachRemaining(rows::add);
        }
        return rows;
    }

    static String text(String value) {
        return value == null
                ? "NULL"
                : "'" + value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r") + "'";
    }

    static String hash(byte[]... parts) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        for (byte[] part : parts) {
            digest.update(part);
        }
        return HexFormat.of().formatHex(digest.digest()).substring(0, 16);
    }
}
