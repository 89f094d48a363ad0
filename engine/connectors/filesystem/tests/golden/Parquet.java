import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

import org.apache.flink.api.common.serialization.BulkWriter;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.file.src.FileSourceSplit;
import org.apache.flink.connector.file.src.reader.BulkFormat;
import org.apache.flink.connector.file.src.util.RecordAndPosition;
import org.apache.flink.core.fs.local.LocalDataOutputStream;
import org.apache.flink.formats.parquet.ParquetFileFormatFactory;
import org.apache.flink.table.connector.Projection;
import org.apache.flink.table.connector.format.ProjectableDecodingFormat;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.data.conversion.DataStructureConverter;
import org.apache.flink.table.data.conversion.DataStructureConverters;
import org.apache.flink.table.runtime.connector.sink.SinkRuntimeProviderContext;
import org.apache.flink.table.runtime.connector.source.ScanRuntimeProviderContext;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.utils.LogicalTypeParser;
import org.apache.flink.table.types.utils.TypeConversions;

/**
 * Writes the golden files with Apache Flink's own Parquet format, and reads files with it:
 *
 *   write times|flat|types FILE OPTION=VALUE ...
 *   read times|flat|types FILE OPTION=VALUE ...     prints the rows
 *
 * `flat` are `times` that are in nothing: within arrays, rows and maps Flink cannot read INT64 as one.
 * The zone of the JVM decides what becomes of timestamps unless `utc-timezone=true`.
 */
public class Parquet {
    static final String FLAT = "id INT, a TIMESTAMP(3), b TIMESTAMP(9), c TIMESTAMP_LTZ(6)";
    static final String TIMES =
            FLAT + ", d ARRAY<TIMESTAMP(6)>, e ROW<x TIMESTAMP(6)>, f MAP<STRING, TIMESTAMP_LTZ(3)>";
    static final String TYPES =
            "a BOOLEAN, b TINYINT, c SMALLINT, d INT, e BIGINT, f FLOAT, g DOUBLE, h STRING, i BYTES, j DATE, k TIME(3), "
                    + "l DECIMAL(9, 2), m DECIMAL(18, 2), n DECIMAL(38, 18), o ARRAY<INT>, p MAP<STRING, BIGINT>, "
                    + "q ROW<x INT, y ARRAY<STRING>>, r CHAR(3), s BINARY(2)";

    public static void main(String[] args) throws Exception {
        String columns = args[1].equals("times") ? TIMES : args[1].equals("flat") ? FLAT : TYPES;
        DataType type =
                TypeConversions.fromLogicalToDataType(
                        LogicalTypeParser.parse("ROW<" + columns + ">", Parquet.class.getClassLoader()));
        Map<String, String> options = new HashMap<>();
        for (int i = 3; i < args.length; i++) {
            String[] pair = args[i].split("=", 2);
            options.put(pair[0], pair[1]);
        }
        Path file = Path.of(args[2]).toAbsolutePath();
        if (args[0].equals("read")) {
            read(type, options, file);
        } else {
            Files.deleteIfExists(file);
            write(type, options, file, args[1].equals("types") ? types() : times());
        }
    }

    static void write(DataType type, Map<String, String> options, Path file, List<RowData> rows) throws Exception {
        BulkWriter.Factory<RowData> factory =
                new ParquetFileFormatFactory()
                        .createEncodingFormat(null, Configuration.fromMap(options))
                        .createRuntimeEncoder(new SinkRuntimeProviderContext(false), type);
        LocalDataOutputStream stream = new LocalDataOutputStream(file.toFile());
        BulkWriter<RowData> writer = factory.create(stream);
        for (RowData row : rows) {
            writer.addElement(row);
        }
        writer.finish();
        stream.close();
    }

    static void read(DataType type, Map<String, String> options, Path file) throws Exception {
        BulkFormat<RowData, FileSourceSplit> format =
                ((ProjectableDecodingFormat<BulkFormat<RowData, FileSourceSplit>>)
                                new ParquetFileFormatFactory().createDecodingFormat(null, Configuration.fromMap(options)))
                        .createRuntimeDecoder(
                                ScanRuntimeProviderContext.INSTANCE, type, Projection.all(type).toNestedIndexes());
        long size = Files.size(file);
        FileSourceSplit split =
                new FileSourceSplit("0", org.apache.flink.core.fs.Path.fromLocalFile(file.toFile()), 0, size, 0, size);
        DataStructureConverter<Object, Object> converter = DataStructureConverters.getConverter(type);
        converter.open(Parquet.class.getClassLoader());
        try (BulkFormat.Reader<RowData> reader = format.createReader(new Configuration(), split)) {
            for (BulkFormat.RecordIterator<RowData> batch; (batch = reader.readBatch()) != null; ) {
                for (RecordAndPosition<RowData> row; (row = batch.next()) != null; ) {
                    System.out.println(converter.toExternal(row.getRecord()));
                }
                batch.releaseBatch();
            }
        }
    }

    static TimestampData at(String text) {
        return TimestampData.fromLocalDateTime(LocalDateTime.parse(text));
    }

    static List<RowData> times() {
        List<RowData> rows = new ArrayList<>();
        String[] times = {
            "2023-11-14T22:13:20.123456789",
            "2023-07-01T00:00:00",
            // Twice in New York, and never.
            "2023-11-05T01:30:00",
            "2023-03-12T02:30:00",
            "1970-01-01T00:00:00",
            "1969-12-31T12:00:00",
            "1900-01-01T00:00:00",
            "1883-11-18T12:00:00",
            "1600-02-29T00:00:00",
            "9999-12-31T23:59:59.999",
        };
        for (int i = 0; i < times.length; i++) {
            TimestampData full = at(times[i]);
            TimestampData millis = TimestampData.fromEpochMillis(full.getMillisecond());
            TimestampData micros =
                    TimestampData.fromEpochMillis(full.getMillisecond(), full.getNanoOfMillisecond() / 1000 * 1000);
            // TIMESTAMP(9) here has no year 9999.
            TimestampData nanos = full.getMillisecond() > 9_000_000_000_000L || full.getMillisecond() < -9_000_000_000_000L ? null : full;
            Map<Object, Object> map = new HashMap<>();
            map.put(StringData.fromString("k"), millis);
            rows.add(
                    GenericRowData.of(
                            i,
                            millis,
                            nanos,
                            micros,
                            new GenericArrayData(new Object[] {micros, null, micros}),
                            GenericRowData.of(micros),
                            new GenericMapData(map)));
        }
        rows.add(GenericRowData.of(100, null, null, null, null, null, null));
        rows.add(
                GenericRowData.of(
                        101, null, null, null, new GenericArrayData(new Object[0]), GenericRowData.of((Object) null), new GenericMapData(new HashMap<>())));
        return rows;
    }

    static DecimalData decimal(String text, int precision, int scale) {
        return DecimalData.fromBigDecimal(new BigDecimal(text), precision, scale);
    }

    static List<RowData> types() {
        List<RowData> rows = new ArrayList<>();
        Map<Object, Object> map = new HashMap<>();
        map.put(StringData.fromString("k"), 7L);
        rows.add(
                GenericRowData.of(
                        true,
                        (byte) -128,
                        (short) 32767,
                        Integer.MIN_VALUE,
                        Long.MAX_VALUE,
                        1.5f,
                        2.5,
                        StringData.fromString("é😀"),
                        new byte[] {0, -1},
                        19675,
                        80_000_123,
                        decimal("1234567.89", 9, 2),
                        decimal("-1234567890123456.78", 18, 2),
                        decimal("0.000000000000000001", 38, 18),
                        new GenericArrayData(new Object[] {1, null, 3}),
                        new GenericMapData(map),
                        GenericRowData.of(1, new GenericArrayData(new Object[] {StringData.fromString("x"), null})),
                        StringData.fromString("abc"),
                        new byte[] {1, 2}));
        rows.add(new GenericRowData(19));
        rows.add(
                GenericRowData.of(
                        false, (byte) 0, (short) 0, 0, 0L, -0.0f, Double.NaN, StringData.fromString(""), new byte[0], -1, 0,
                        decimal("0", 9, 2), decimal("0", 18, 2), decimal("0", 38, 18),
                        new GenericArrayData(new Object[0]), new GenericMapData(new HashMap<>()),
                        GenericRowData.of(null, new GenericArrayData(new Object[0])),
                        StringData.fromString(""), new byte[0]));
        return rows;
    }
}
