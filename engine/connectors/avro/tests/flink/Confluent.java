import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.formats.avro.registry.confluent.RegistryAvroFormatFactory;
import org.apache.flink.formats.json.JsonFormatFactory;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.table.connector.Projection;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.format.ProjectableDecodingFormat;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.conversion.DataStructureConverter;
import org.apache.flink.table.data.conversion.DataStructureConverters;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.runtime.connector.sink.SinkRuntimeProviderContext;
import org.apache.flink.table.runtime.connector.source.ScanRuntimeProviderContext;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.utils.LogicalTypeParser;
import org.apache.flink.table.types.utils.TypeConversions;
import org.apache.flink.util.Collector;
import org.apache.flink.util.SimpleUserCodeClassLoader;
import org.apache.flink.util.UserCodeClassLoader;

/**
 * Apache Flink's avro-confluent on lines: `write URL SUBJECT COLUMNS` takes rows in JSON and gives records
 * in hexadecimal digits, `read URL COLUMNS` takes records and gives rows as Flink prints them.
 */
public class Confluent {
    static final ClassLoader LOADER = Confluent.class.getClassLoader();

    public static void main(String[] args) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        DataType type = TypeConversions.fromLogicalToDataType(
                LogicalTypeParser.parse("ROW<" + args[args.length - 1] + "> NOT NULL", LOADER));
        StringBuilder out = new StringBuilder();
        if (args[0].equals("write")) {
            SerializationSchema<RowData> writer = new RegistryAvroFormatFactory()
                    .createEncodingFormat(null, Configuration.fromMap(Map.of("url", args[1], "subject", args[2])))
                    .createRuntimeEncoder(new SinkRuntimeProviderContext(false), type);
            writer.open(new Opened());
            for (String line; (line = lines.readLine()) != null; ) {
                for (RowData row : decode(new JsonFormatFactory(), Map.of(), type, line.getBytes(StandardCharsets.UTF_8))) {
                    out.append(HexFormat.of().formatHex(writer.serialize(row))).append('\n');
                }
            }
        } else {
            DataStructureConverter<Object, Object> converter = DataStructureConverters.getConverter(type);
            converter.open(LOADER);
            for (String line; (line = lines.readLine()) != null; ) {
                byte[] record = HexFormat.of().parseHex(line);
                for (RowData row : decode(new RegistryAvroFormatFactory(), Map.of("url", args[1]), type, record)) {
                    out.append(converter.toExternal(row)).append('\n');
                }
            }
        }
        System.out.write(out.toString().getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }

    static List<RowData> decode(
            DeserializationFormatFactory factory, Map<String, String> options, DataType type, byte[] input)
            throws Exception {
        DecodingFormat<DeserializationSchema<RowData>> format =
                factory.createDecodingFormat(null, Configuration.fromMap(options));
        DeserializationSchema<RowData> schema = ((ProjectableDecodingFormat<DeserializationSchema<RowData>>) format)
                .createRuntimeDecoder(
                        ScanRuntimeProviderContext.INSTANCE, type, Projection.all(type).toNestedIndexes());
        schema.open(new Opened());
        List<RowData> rows = new ArrayList<>();
        schema.deserialize(
                input,
                new Collector<RowData>() {
                    @Override
                    public void collect(RowData row) {
                        rows.add(row);
                    }

                    @Override
                    public void close() {}
                });
        return rows;
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
