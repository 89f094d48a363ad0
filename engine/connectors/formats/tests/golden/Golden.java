import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

import org.apache.flink.api.common.serialization.BulkWriter;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.file.src.FileSourceSplit;
import org.apache.flink.connector.file.src.reader.BulkFormat;
import org.apache.flink.connector.file.table.factories.BulkReaderFormatFactory;
import org.apache.flink.connector.file.table.factories.BulkWriterFormatFactory;
import org.apache.flink.core.fs.local.LocalDataOutputStream;
import org.apache.flink.formats.csv.CsvFileFormatFactory;
import org.apache.flink.formats.csv.CsvFormatFactory;
import org.apache.flink.formats.json.JsonFormatFactory;
import org.apache.flink.formats.json.debezium.DebeziumJsonFormatFactory;
import org.apache.flink.formats.raw.RawFormatFactory;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.connector.Projection;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.format.ProjectableDecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.conversion.DataStructureConverter;
import org.apache.flink.table.data.conversion.DataStructureConverters;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.SerializationFormatFactory;
import org.apache.flink.table.runtime.connector.sink.SinkRuntimeProviderContext;
import org.apache.flink.table.runtime.connector.source.ScanRuntimeProviderContext;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.utils.LogicalTypeParser;
import org.apache.flink.table.types.utils.TypeConversions;
import org.apache.flink.util.Collector;
import org.apache.flink.util.SimpleUserCodeClassLoader;
import org.apache.flink.util.UserCodeClassLoader;

/**
 * Fills the golden files: each line's input goes through Apache Flink's own format, and what comes
 * out is written behind it. The files' form is described in README.md; `refresh` runs this.
 */
public class Golden {
    static final ClassLoader LOADER = Golden.class.getClassLoader();
    /** Stands for a null key of a map, which no format can read. */
    static final StringData NULL_KEY = StringData.fromString("NULL-KEY");

    public static void main(String[] args) throws Exception {
        for (String file : args) {
            refresh(Path.of(file));
        }
    }

    static void refresh(Path file) throws Exception {
        List<String> out = new ArrayList<>();
        Section section = null;
        for (String line : Files.readAllLines(file, StandardCharsets.UTF_8)) {
            if (line.isEmpty() || line.startsWith("#")) {
                out.add(line);
            } else if (line.startsWith("@")) {
                section = Section.parse(line, section);
                out.add(line);
            } else {
                String input = line.split("\t", -1)[0];
                out.add(input + "\t" + section.run(unescape(input)));
            }
        }
        Files.write(file, out, StandardCharsets.UTF_8);
    }

    /** What the lines below it go through. */
    static class Section {
        String kind;
        String format;
        Map<String, String> options = new HashMap<>();
        String from;
        Map<String, String> fromOptions = new HashMap<>();
        String columns;
        /** Keys of metadata that are read behind the columns. */
        List<String> metadata = List.of();

        static Section parse(String line, Section before) {
            String[] words = line.split(" ", 2);
            if (words[0].equals("@columns")) {
                before.columns = words[1];
                return before;
            }
            if (words[0].equals("@metadata")) {
                before.metadata = List.of(words[1].split(" "));
                return before;
            }
            Section section = new Section();
            section.columns = before == null ? null : before.columns;
            section.kind = words[0].substring(1);
            section.from = "json";
            String[] parts = words[1].split(" <- ");
            section.format = read(parts[0], section.options);
            if (parts.length > 1) {
                section.from = read(parts[1], section.fromOptions);
            }
            return section;
        }

        static String read(String text, Map<String, String> options) {
            String[] parts = text.split(" ");
            for (int i = 1; i < parts.length; i++) {
                String[] pair = parts[i].split("=", 2);
                options.put(pair[0].substring(parts[0].length() + 1), new String(unescape(pair[1]), StandardCharsets.UTF_8));
            }
            return parts[0];
        }

        DataType type() {
            return TypeConversions.fromLogicalToDataType(LogicalTypeParser.parse("ROW<" + columns + "> NOT NULL", LOADER));
        }

        String run(byte[] input) {
            try {
                switch (kind) {
                    case "decode":
                        return shown(decode(format, options, type(), metadata, input));
                    case "encode":
                        return encode(format, options, type(), decode(from, fromOptions, type(), List.of(), input));
                    case "decode-file":
                        return shown(decodeFile(options, type(), input));
                    case "encode-file":
                        return encodeFile(options, type(), decode(from, fromOptions, type(), List.of(), input));
                    default:
                        throw new IllegalArgumentException(kind);
                }
            } catch (Throwable e) {
                if (System.getenv("GOLDEN_DEBUG") != null) {
                    e.printStackTrace();
                }
                return "ERROR";
            }
        }

        String shown(List<RowData> rows) {
            if (rows.isEmpty()) {
                return "NONE";
            }
            DataType type = type();
            for (String key : metadata) {
                DataType of = new DebeziumJsonFormatFactory()
                        .createDecodingFormat(null, new Configuration()).listReadableMetadata().get(key);
                List<DataTypes.Field> fields = new ArrayList<>(DataType.getFields(type));
                fields.add(DataTypes.FIELD(key, of));
                type = DataTypes.ROW(fields);
            }
            DataStructureConverter<Object, Object> converter = DataStructureConverters.getConverter(type);
            converter.open(LOADER);
            StringBuilder text = new StringBuilder();
            for (RowData row : rows) {
                text.append(converter.toExternal(row));
            }
            return escape(text.toString().getBytes(StandardCharsets.UTF_8));
        }
    }

    static Object factory(String name) {
        switch (name) {
            case "json": return new JsonFormatFactory();
            case "debezium-json": return new DebeziumJsonFormatFactory();
            case "csv": return new CsvFormatFactory();
            // In a jar of its own.
            case "avro": return create("org.apache.flink.formats.avro.AvroFormatFactory");
            default: return new RawFormatFactory();
        }
    }

    static Object create(String name) {
        try {
            return Class.forName(name).getConstructor().newInstance();
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    static List<RowData> decode(
            String name, Map<String, String> options, DataType type, List<String> metadata, byte[] input)
            throws Exception {
        DeserializationFormatFactory factory = (DeserializationFormatFactory) factory(name);
        DecodingFormat<DeserializationSchema<RowData>> format = factory.createDecodingFormat(null, Configuration.fromMap(options));
        if (!metadata.isEmpty()) {
            format.applyReadableMetadata(metadata);
        }
        DynamicTableSource.Context context = ScanRuntimeProviderContext.INSTANCE;
        DeserializationSchema<RowData> schema =
                format instanceof ProjectableDecodingFormat
                        ? ((ProjectableDecodingFormat<DeserializationSchema<RowData>>) format)
                                .createRuntimeDecoder(context, type, Projection.all(type).toNestedIndexes())
                        : format.createRuntimeDecoder(context, type);
        schema.open(new Opened());
        List<RowData> rows = new ArrayList<>();
        schema.deserialize(
                input,
                new Collector<RowData>() {
                    @Override
                    public void collect(RowData row) {
                        // As the Kafka source's collector, which sets the row's kind.
                        row.getRowKind();
                        rows.add(row);
                    }

                    @Override
                    public void close() {}
                });
        return rows;
    }

    static String encode(String name, Map<String, String> options, DataType type, List<RowData> rows) throws Exception {
        SerializationFormatFactory factory = (SerializationFormatFactory) factory(name);
        SerializationSchema<RowData> schema =
                factory.createEncodingFormat(null, Configuration.fromMap(options))
                        .createRuntimeEncoder(new SinkRuntimeProviderContext(false), type);
        schema.open(new Opened());
        List<String> records = new ArrayList<>();
        if (rows.isEmpty()) {
            throw new IllegalArgumentException("no row");
        }
        for (RowData row : rows) {
            byte[] bytes = schema.serialize(withNullKeys(row));
            records.add(bytes == null ? "NULL" : escape(bytes));
        }
        return String.join(" ", records);
    }

    static List<RowData> decodeFile(Map<String, String> options, DataType type, byte[] input) throws Exception {
        Path file = Files.createTempFile("golden", ".csv");
        try {
            Files.write(file, input);
            BulkReaderFormatFactory factory = new CsvFileFormatFactory();
            BulkFormat<RowData, FileSourceSplit> format =
                    ((ProjectableDecodingFormat<BulkFormat<RowData, FileSourceSplit>>)
                                    factory.createDecodingFormat(null, Configuration.fromMap(options)))
                            .createRuntimeDecoder(
                                    ScanRuntimeProviderContext.INSTANCE, type, Projection.all(type).toNestedIndexes());
            FileSourceSplit split =
                    new FileSourceSplit("0", org.apache.flink.core.fs.Path.fromLocalFile(file.toFile()), 0, input.length, 0, input.length);
            List<RowData> rows = new ArrayList<>();
            try (BulkFormat.Reader<RowData> reader = format.createReader(new Configuration(), split)) {
                for (BulkFormat.RecordIterator<RowData> batch; (batch = reader.readBatch()) != null; ) {
                    for (org.apache.flink.connector.file.src.util.RecordAndPosition<RowData> row; (row = batch.next()) != null; ) {
                        rows.add(row.getRecord());
                    }
                    batch.releaseBatch();
                }
            }
            return rows;
        } finally {
            Files.delete(file);
        }
    }

    static String encodeFile(Map<String, String> options, DataType type, List<RowData> rows) throws Exception {
        Path file = Files.createTempFile("golden", ".csv");
        try {
            BulkWriterFormatFactory factory = new CsvFileFormatFactory();
            BulkWriter.Factory<RowData> writers =
                    factory.createEncodingFormat(null, Configuration.fromMap(options))
                            .createRuntimeEncoder(new SinkRuntimeProviderContext(false), type);
            LocalDataOutputStream stream = new LocalDataOutputStream(file.toFile());
            BulkWriter<RowData> writer = writers.create(stream);
            for (RowData row : rows) {
                writer.addElement(row);
            }
            writer.finish();
            stream.close();
            return escape(Files.readAllBytes(file));
        } finally {
            Files.delete(file);
        }
    }

    static RowData withNullKeys(RowData row) {
        if (row instanceof GenericRowData) {
            GenericRowData generic = (GenericRowData) row;
            for (int i = 0; i < generic.getArity(); i++) {
                generic.setField(i, withNullKeys(generic.getField(i)));
            }
        }
        return row;
    }

    static Object withNullKeys(Object value) {
        if (value instanceof GenericRowData) {
            return withNullKeys((RowData) value);
        }
        if (value instanceof GenericMapData) {
            GenericMapData map = (GenericMapData) value;
            Map<Object, Object> keyed = new java.util.LinkedHashMap<>();
            for (Object key : ((org.apache.flink.table.data.GenericArrayData) map.keyArray()).toObjectArray()) {
                keyed.put(NULL_KEY.equals(key) ? null : key, withNullKeys(map.get(key)));
            }
            return new GenericMapData(keyed);
        }
        return value;
    }

    /** `\t`, `\n`, `\r`, `\\`, `\s` for a space, and `\xNN` for any other byte. */
    static byte[] unescape(String text) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        for (int i = 0; i < bytes.length; i++) {
            if (bytes[i] != '\\') {
                out.write(bytes[i]);
                continue;
            }
            switch (bytes[++i]) {
                case 't': out.write('\t'); break;
                case 'n': out.write('\n'); break;
                case 'r': out.write('\r'); break;
                case 's': out.write(' '); break;
                case 'x':
                    out.write(Integer.parseInt(new String(bytes, i + 1, 2, StandardCharsets.UTF_8), 16));
                    i += 2;
                    break;
                default: out.write(bytes[i]);
            }
        }
        return out.toByteArray();
    }

    static String escape(byte[] bytes) {
        boolean text = StandardCharsets.UTF_8.newEncoder().canEncode(new String(bytes, StandardCharsets.UTF_8))
                && java.util.Arrays.equals(new String(bytes, StandardCharsets.UTF_8).getBytes(StandardCharsets.UTF_8), bytes);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (byte b : bytes) {
            if (b == '\t') {
                out.writeBytes("\\t".getBytes());
            } else if (b == '\n') {
                out.writeBytes("\\n".getBytes());
            } else if (b == '\r') {
                out.writeBytes("\\r".getBytes());
            } else if (b == '\\') {
                out.writeBytes("\\\\".getBytes());
            } else if ((b >= 0 && b < 0x20) || b == 0x7f || (b < 0 && !text)) {
                out.writeBytes(String.format("\\x%02x", b).getBytes());
            } else {
                out.write(b);
            }
        }
        return out.toString(StandardCharsets.UTF_8);
    }

    static class Opened implements DeserializationSchema.InitializationContext, SerializationSchema.InitializationContext {
        @Override
        public MetricGroup getMetricGroup() {
            return new UnregisteredMetricsGroup();
        }

        @Override
        public UserCodeClassLoader getUserCodeClassLoader() {
            return SimpleUserCodeClassLoader.create(LOADER);
        }
    }
}
