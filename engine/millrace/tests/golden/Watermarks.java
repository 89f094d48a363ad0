import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.Set;

import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.DataStreamSink;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.table.api.Schema;
import org.apache.flink.table.api.Table;
import org.apache.flink.table.api.TableDescriptor;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.catalog.Column;
import org.apache.flink.table.catalog.GenericInMemoryCatalog;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.ProviderContext;
import org.apache.flink.table.connector.RuntimeConverter;
import org.apache.flink.table.connector.sink.DataStreamSinkProvider;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DynamicTableSinkFactory;
import org.apache.flink.table.factories.Factory;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.utils.DataTypeUtils;
import org.apache.flink.util.Collector;

/** What a query gives, with a line `@MILLIS` before a row if the watermark rose since the row before. */
@SuppressWarnings("deprecation")
final class Watermarks {
    /** The tasks run in this process. */
    private static final List<String> LINES = Collections.synchronizedList(new ArrayList<>());

    private Watermarks() {}

    static List<String> run(TableEnvironment env, Table query) throws Exception {
        Schema.Builder schema = Schema.newBuilder();
        for (Column column : query.getResolvedSchema().getColumns()) {
            // Flink would look for nulls on the way into a table that has none.
            schema.column(column.getName(), DataTypeUtils.removeTimeAttribute(column.getDataType()).nullable());
        }
        LINES.clear();
        env.registerCatalog("watched", new Watched());
        env.createTable("watched.rows.result", TableDescriptor.forConnector("watched").schema(schema.build()).build());
        query.insertInto("watched.rows.result").execute().await();
        return new ArrayList<>(LINES);
    }

    /** A catalog of tables that write into `LINES`. */
    private static final class Watched extends GenericInMemoryCatalog {
        Watched() {
            super("watched", "rows");
        }

        @Override
        public Optional<Factory> getFactory() {
            return Optional.of(new SinkFactory());
        }
    }

    private static final class SinkFactory implements DynamicTableSinkFactory {
        @Override
        public String factoryIdentifier() {
            return "watched";
        }

        @Override
        public Set<ConfigOption<?>> requiredOptions() {
            return Set.of();
        }

        @Override
        public Set<ConfigOption<?>> optionalOptions() {
            return Set.of();
        }

        @Override
        public DynamicTableSink createDynamicTableSink(Context context) {
            return new Sink(context.getPhysicalRowDataType());
        }
    }

    private static final class Sink implements DynamicTableSink {
        private final DataType rowType;

        Sink(DataType rowType) {
            this.rowType = rowType;
        }

        @Override
        public ChangelogMode getChangelogMode(ChangelogMode requested) {
            return requested;
        }

        @Override
        public SinkRuntimeProvider getSinkRuntimeProvider(Context context) {
            Watch watch = new Watch(context.createDataStructureConverter(rowType));
            return new DataStreamSinkProvider() {
                @Override
                public DataStreamSink<?> consumeDataStream(ProviderContext provider, DataStream<RowData> rows) {
                    return rows.process(watch, Types.VOID).sinkTo(new DiscardingSink<>());
                }
            };
        }

        @Override
        public DynamicTableSink copy() {
            return new Sink(rowType);
        }

        @Override
        public String asSummaryString() {
            return "watched";
        }
    }

    private static final class Watch extends ProcessFunction<RowData, Void> {
        private final DynamicTableSink.DataStructureConverter converter;
        private long last = Long.MIN_VALUE;

        Watch(DynamicTableSink.DataStructureConverter converter) {
            this.converter = converter;
        }

        @Override
        public void open(OpenContext context) {
            converter.open(RuntimeConverter.Context.create(getRuntimeContext().getUserCodeClassLoader()));
        }

        @Override
        public void processElement(RowData row, Context context, Collector<Void> out) {
            long watermark = context.timerService().currentWatermark();
            if (watermark > last) {
                last = watermark;
                LINES.add("@" + watermark);
            }
            LINES.add(converter.toExternal(row).toString());
        }
    }
}
