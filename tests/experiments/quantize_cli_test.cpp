#include <bit>
#include <cmath>
#include <limits>
#include <set>

#include "experiments/store/hdf5_file.hpp"
#include "tests/experiments/cli_fixture.hpp"

namespace ospsim {
namespace {

using Floats = std::vector<float>;
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr float infinite = std::numeric_limits<float>::infinity();

class QuantizeCli : public Cli {
 protected:
  static std::string little(std::uint64_t number, int size) {
    std::string bytes;
    for (int i = 0; i < size; ++i) bytes += static_cast<char>(number >> 8 * i);
    return bytes;
  }
  static std::string bytes_of(const Floats& x) {
    std::string bytes;
    for (const float v : x) bytes += little(std::bit_cast<std::uint32_t>(v), 4);
    return bytes;
  }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder.file(name), std::ios::binary) << bytes;
  }
  void write_npy(const std::string& name, const std::string& shape, const Floats& x) const {
    const std::string header =
        "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }\n";
    write(name,
          std::string("\x93NUMPY\x01\x00", 8) + little(header.size(), 2) + header + bytes_of(x));
  }
  void write_safetensors(const std::string& name, const Json& header,
                         const std::string& data) const {
    const std::string text = header.dump();
    write(name, little(text.size(), 8) + text + data);
  }
  static Json entry(const char* dtype, const Json& shape, int begin, int end) {
    return {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {begin, end}}};
  }

  Json quantize(const std::string& line) const { return json("quantize " + line); }
  /// The only result.
  Json result(const std::string& line) const {
    const Json document = quantize(line);
    EXPECT_EQ(document.at("results").size(), 1u) << line;
    return document.at("results")[0];
  }
  void refuses(const std::string& line, const std::string& names) const {
    expect_refusal("quantize " + line, names);
  }
};

const std::string drawn = " --distribution normal:0,1";
const std::string all_formats = "--format hif8,e4m3,e5m2,mxfp8-e4m3,mxfp8-e5m2,int8";
const std::string all_scalings =
    " --scaling none,tensor,tensor-pow2,delayed,token,channel,block32,tile128,block128x128";

// ---- What it reports ---------------------------------------------------------------------------

TEST_F(QuantizeCli, EveryFormatAndScalingHasEveryField) {
  const Json document = quantize(all_formats + all_scalings + drawn + " --size 100000");
  ASSERT_EQ(document.at("results").size(), 4u * 9 + 2);
  std::set<std::pair<std::string, std::string>> seen;
  int closed_forms = 0;
  for (const Json& row : document.at("results")) {
    for (const char* field : {"format", "scaling", "tensor", "rounding"})
      EXPECT_TRUE(row.at(field).is_string()) << row;
    for (const char* field : {"sqnr_db", "relative_l2", "max_abs_error", "max_relative_error",
                              "underflow_fraction", "overflow_fraction", "bits_per_element",
                              "scale_max", "code_entropy_bits", "sqnr_db_standard_error"})
      EXPECT_TRUE(row.at(field).is_number_float()) << field << " of " << row;
    for (const char* field : {"nan_count", "codes_used"})
      EXPECT_TRUE(row.at(field).is_number_integer()) << field << " of " << row;
    seen.emplace(row.at("format"), row.at("scaling"));
    EXPECT_NEAR(row.at("sqnr_db").get<double>(),
                -20 * std::log10(row.at("relative_l2").get<double>()), 1e-9);
    EXPECT_EQ(row.at("tensor"), "normal:0,1");
    EXPECT_GE(row.at("bits_per_element"), 8);
    if (!row.contains("sqnr_db_closed_form")) continue;
    ++closed_forms;
    EXPECT_NEAR(row.at("sqnr_db").get<double>(), row.at("sqnr_db_closed_form").get<double>(),
                3 * row.at("sqnr_db_standard_error").get<double>())
        << row;
  }
  EXPECT_EQ(closed_forms, 4 * 3);
  EXPECT_EQ(seen.size(), document.at("results").size());
  EXPECT_TRUE(seen.contains({"mxfp8-e4m3", "mx-floor"}));
  EXPECT_TRUE(seen.contains({"hif8", "tensor-pow2"}));
  const Json& tensor = document.at("tensors").at(0);
  EXPECT_EQ(tensor.at("shape"), Json{100000});
  EXPECT_EQ(tensor.at("elements"), 100000);
  EXPECT_NEAR(tensor.at("rms").get<double>(), 1, .02);
  std::int64_t in_binades = 0;
  for (const Json& binade : tensor.at("binades")) in_binades += binade.at("count").get<int>();
  EXPECT_EQ(in_binades + tensor.at("zeros").get<int>(), 100000);
}

TEST_F(QuantizeCli, Hif8OfStandardNormalDataHas31Decibels) {
  const Json row = result("--format hif8 --scaling none" + drawn);
  EXPECT_NEAR(row.at("sqnr_db").get<double>(), 31.516, .03);
  EXPECT_NEAR(row.at("sqnr_db_closed_form").get<double>(), 31.516, .001);
  EXPECT_EQ(row.at("bits_per_element"), 8.0);
  EXPECT_FALSE(result("--format hif8 --scaling none --distribution student-t --size 1000")
                   .contains("sqnr_db_closed_form"));
  EXPECT_FALSE(result("--format hif8 --scaling none --rounding rne --size 1000" + drawn)
                   .contains("sqnr_db_closed_form"));
}

TEST_F(QuantizeCli, ClosedFormSpeaksOfTheNumbersDrawn) {
  // The scale is that of the largest number drawn, so none of them is clipped, however few.
  for (const char* distribution : {"normal:0,1 --size 100", "laplace:0,1 --size 10000"}) {
    const Json document = quantize(
        std::string("--format hif8,e4m3,int8 --scaling tensor,tensor-pow2 --distribution ") +
        distribution);
    for (const Json& row : document.at("results"))
      if (row.contains("sqnr_db_closed_form")) {
        EXPECT_NEAR(row.at("sqnr_db").get<double>(), row.at("sqnr_db_closed_form").get<double>(),
                    5 * row.at("sqnr_db_standard_error").get<double>())
            << row;
      }
  }
}

TEST_F(QuantizeCli, BitsPerElement) {
  const auto bits = [&](const std::string& format, const std::string& scaling,
                        const std::string& size = "65536 --columns 512") {
    return result("--format " + format + " --scaling " + scaling + drawn + " --size " + size)
        .at("bits_per_element")
        .get<double>();
  };
  EXPECT_EQ(bits("hif8", "block32"), 9);
  EXPECT_EQ(bits("e4m3", "tile128"), 8.25);
  EXPECT_EQ(bits("mxfp8-e4m3", "none"), 8.25);
  EXPECT_EQ(bits("mxfp8-e5m2", "tensor"), 8.25);
  EXPECT_EQ(bits("int8", "token"), 8 + 32. / 512);
  EXPECT_EQ(bits("int8", "channel"), 8 + 32. / 128);
  EXPECT_EQ(bits("e5m2", "block128x128"), 8 + 32. / (128 * 128));
  EXPECT_EQ(bits("hif8", "tensor-pow2"), 8 + 8. / 65536);
}

TEST_F(QuantizeCli, DefaultsAreOneScaleATensor) {
  const Json row = result("--format hif8 --size 2048" + drawn);
  EXPECT_EQ(row.at("scaling"), "tensor");
  EXPECT_EQ(row.at("scale_max"), 15.0);
  EXPECT_EQ(row.at("rounding"), "ta");
  EXPECT_EQ(row.at("overflow_fraction"), 0.0);
  EXPECT_EQ(result("--format e4m3 --size 2048" + drawn).at("scale_max"), 448.0);
  EXPECT_EQ(result("--format e5m2 --size 2048" + drawn).at("scale_max"), 57344.0);
  EXPECT_EQ(result("--format int8 --size 2048" + drawn).at("scale_max"), 127.0);
  EXPECT_EQ(quantize("--format hif8" + drawn).at("tensors")[0].at("shape"), (Json{1024, 1024}));
}

// ---- Its options, on tensors of a few numbers --------------------------------------------------

TEST_F(QuantizeCli, ScaleMax) {
  // 30 times 15/30 is a number of hif8; 29 falls halfway between 14 and 15, and goes away from 0.
  write_npy("x.npy", "(2,)", {30, 29});
  EXPECT_EQ(result("--format hif8 --input x.npy").at("max_abs_error"), 1.0);
  const Json row = result("--format hif8 --scale-max 240 --input x.npy");
  EXPECT_EQ(row.at("scale_max"), 240.0);
  EXPECT_EQ(row.at("max_abs_error"), 2.0);  // 240 becomes 256, and 232 a tie, 256
  EXPECT_EQ(result("--format mxfp8-e4m3 --scale-max 15 --input x.npy").at("scale_max"), 448.0);
}

TEST_F(QuantizeCli, MxRule) {
  write_npy("x.npy", "(2,)", {957, 959.56f});
  const auto error = [&](const char* rule) {
    const Json row = result(std::string("--format mxfp8-e4m3 --input x.npy --mx-rule ") + rule);
    EXPECT_EQ(row.at("scaling"), std::string("mx-") + rule);
    return row.at("max_abs_error").get<double>();
  };
  EXPECT_NEAR(error("floor"), 63.56, 1e-4);  // to 448 x 2
  EXPECT_NEAR(error("even"), 63.56, 1e-4);
  EXPECT_EQ(error("ratio"), 3);  // 957 to 240 x 4
  EXPECT_EQ(error("ceil"), 3);
}

TEST_F(QuantizeCli, Overflow) {
  write_npy("x.npy", "(2,)", {1, 1000});
  const Json saturated = result("--format e4m3 --scaling none --input x.npy");
  EXPECT_EQ(saturated.at("overflow_fraction"), .5);
  EXPECT_EQ(saturated.at("max_abs_error"), 552.0);
  const Json lost = result("--format e4m3 --scaling none --overflow ieee --input x.npy");
  EXPECT_EQ(lost.at("overflow_fraction"), .5);
  EXPECT_TRUE(lost.at("sqnr_db").is_null());
  EXPECT_EQ(lost.at("nan_count"), 0);
}

TEST_F(QuantizeCli, RoundingAndCodes) {
  write_npy("x.npy", "(2,)", {1.0625f, 16});
  const auto codes = [&](const std::string& rounding) {
    const Json document =
        quantize("--format hif8 --scaling none --codes --input x.npy --rounding " + rounding);
    EXPECT_EQ(document.at("results")[0].at("rounding"), rounding);
    std::vector<std::size_t> used;
    for (std::size_t code = 0; code < 256; ++code)
      if (document.at("codes")[0].at(code) != 0) used.push_back(code);
    return used;
  };
  using Used = std::vector<std::size_t>;
  EXPECT_EQ(codes("ta"), (Used{0x09, 0x40}));
  EXPECT_EQ(codes("rne"), (Used{0x08, 0x40}));
  EXPECT_EQ(codes("hybrid"), (Used{0x09, 0x41}));
  EXPECT_EQ(codes("hybrid-exact"), (Used{0x09, 0x40}));
  EXPECT_EQ(codes("stochastic").size(), 2u);
}

TEST_F(QuantizeCli, CodesStandInTheOrderOfTheResults) {
  const Json document =
      quantize(all_formats + " --scaling none --codes --size 5000 --columns 100" + drawn);
  ASSERT_EQ(document.at("codes").size(), 6u);
  for (std::size_t i = 0; i < 6; ++i) {
    const Json& codes = document.at("codes")[i];
    ASSERT_EQ(codes.size(), 256u);
    int all = 0, used = 0;
    for (const Json& count : codes) all += count.get<int>(), used += count != 0 ? 1 : 0;
    EXPECT_EQ(all, 5000);
    EXPECT_EQ(used, document.at("results")[i].at("codes_used"));
  }
  EXPECT_FALSE(quantize("--format hif8 --size 10" + drawn).contains("codes"));
}

TEST_F(QuantizeCli, Epsilon) {
  write_npy("x.npy", "(1,)", {.001f});
  EXPECT_EQ(result("--format hif8 --input x.npy").at("relative_l2"), 0.0);
  // .001 x 15 = .015, between 7/4 and 8/4 of 2^-7.
  EXPECT_NEAR(result("--format hif8 --epsilon 1 --input x.npy").at("relative_l2").get<double>(),
              0x1p-6 / .015 - 1, 1e-6);
}

TEST_F(QuantizeCli, History) {
  write_npy("x.npy", "(3, 1)", {8, 1, 8});
  const std::string line = "--format e4m3 --scaling delayed --input x.npy";
  EXPECT_EQ(result(line + " --history 1").at("overflow_fraction").get<double>(), 1. / 3);
  EXPECT_EQ(result(line + " --history 2").at("overflow_fraction"), 0.0);
  EXPECT_EQ(result(line).at("overflow_fraction"), 0.0);
}

TEST_F(QuantizeCli, ColumnsAndSize) {
  const Json whole = quantize("--format hif8 --size 600 --columns 20" + drawn);
  EXPECT_EQ(whole.at("tensors")[0].at("shape"), (Json{30, 20}));
  EXPECT_EQ(quantize("--format hif8 --size 610 --columns 20" + drawn).at("tensors")[0].at("shape"),
            Json{610});
  EXPECT_EQ(quantize("--format hif8 --size 1" + drawn).at("tensors")[0].at("elements"), 1);
}

// ---- Where numbers come from -------------------------------------------------------------------

const Floats mixed{1, not_a_number, 2, infinite, 0, -infinite};

TEST_F(QuantizeCli, ReadsNpy) {
  write_npy("weights.npy", "(2, 3)", mixed);
  const Json document = quantize(all_formats + all_scalings + " --input weights.npy");
  const Json& tensor = document.at("tensors")[0];
  EXPECT_EQ(tensor.at("tensor"), "weights");
  EXPECT_EQ(tensor.at("dtype"), "F32");
  EXPECT_EQ(tensor.at("shape"), (Json{2, 3}));
  EXPECT_EQ(tensor.at("elements"), 6);
  EXPECT_EQ(tensor.at("nan_count"), 1);
  EXPECT_EQ(tensor.at("infinity_count"), 2);
  EXPECT_EQ(tensor.at("zeros"), 1);
  EXPECT_EQ(tensor.at("amax"), 2.0);
  EXPECT_EQ(tensor.at("mean"), 1.0);
  EXPECT_DOUBLE_EQ(tensor.at("rms").get<double>(), std::sqrt(5. / 3));
  EXPECT_EQ(tensor.at("binades"),
            (Json{{{"exponent", 0}, {"count", 1}}, {{"exponent", 1}, {"count", 1}}}));
  for (const Json& row : document.at("results")) {
    EXPECT_EQ(row.at("nan_count"), 1) << row;
    EXPECT_TRUE(row.at("relative_l2").is_number()) << row;
    EXPECT_FALSE(row.contains("sqnr_db_standard_error"));
  }
}

TEST_F(QuantizeCli, OfATensorWithoutANumberNothingIsKnown) {
  write_npy("none.npy", "(1, 2)", {std::nanf(""), INFINITY});
  const Json document = quantize("--format hif8,e4m3 --input none.npy");
  EXPECT_TRUE(document.at("ranking").empty());
  for (const Json& row : document.at("results"))
    for (const char* field : {"sqnr_db", "relative_l2"})
      EXPECT_TRUE(row.at(field).is_null()) << row;
  const Program program = start("quantize --format hif8 --input none.npy");
  EXPECT_EQ(program.wait(), 0);
  EXPECT_EQ(program.out().find("exact"), std::string::npos) << program.out();
}

class Models : public QuantizeCli {
 protected:
  void SetUp() override {
    write_safetensors("m.safetensors",
                      {{"a", entry("F32", {2, 3}, 0, 24)},
                       {"b:c", entry("F32", {1}, 24, 28)},
                       {"empty", entry("F32", {0, 4}, 28, 28)},
                       {"ids", entry("I32", {1}, 28, 32)}},
                      bytes_of(mixed) + bytes_of({3}) + little(7, 4));
  }
};

TEST_F(Models, ReadsSafetensorsAndListsWhatItSkips) {
  const Json document = quantize("--format hif8,e4m3 --input m.safetensors");
  ASSERT_EQ(document.at("tensors").size(), 3u);
  EXPECT_EQ(document.at("results").size(), 6u);
  EXPECT_EQ(document.at("tensors")[0].at("nan_count"), 1);
  EXPECT_EQ(document.at("tensors")[0].at("infinity_count"), 2);
  ASSERT_EQ(document.at("skipped").size(), 1u);
  EXPECT_EQ(document.at("skipped")[0].at("tensor"), "ids");
  EXPECT_NE(document.at("skipped")[0].at("reason").get<std::string>().find("I32"),
            std::string::npos);
  const Json& empty = document.at("results")[4];
  EXPECT_EQ(empty.at("tensor"), "empty");
  EXPECT_EQ(empty.at("relative_l2"), 0.0);
  EXPECT_EQ(empty.at("codes_used"), 0);
  EXPECT_EQ(document.at("tensors")[2].at("elements"), 0);
  EXPECT_EQ(document.at("tensors")[2].at("rms"), 0.0);
  const Program shown = start("quantize --format hif8,e4m3 --input m.safetensors");
  EXPECT_EQ(shown.wait(), 0);
  for (const char* part : {"skipped: ids", "b:c", "exact", "rank"})
    EXPECT_NE(shown.out().find(part), std::string::npos) << part;
}

TEST_F(Models, ReadsTheNamedTensorOnly) {
  const Json document = quantize("--format hif8 --input m.safetensors:b:c");
  ASSERT_EQ(document.at("tensors").size(), 1u);
  EXPECT_EQ(document.at("tensors")[0].at("tensor"), "b:c");
  EXPECT_EQ(document.at("tensors")[0].at("amax"), 3.0);
  EXPECT_FALSE(document.contains("skipped"));
  EXPECT_EQ(quantize("--format hif8 --input m.safetensors:empty").at("results").size(), 1u);
  refuses("--format hif8 --input m.safetensors:ids", "--input");
  refuses("--format hif8 --input m.safetensors:d", "'d'");
}

TEST_F(Models, ReadsShards) {
  write_safetensors("second.safetensors", {{"d", entry("F32", {2}, 0, 8)}}, bytes_of({5, 6}));
  write("m.safetensors.index.json", Json{{"metadata", Json::object()},
                                         {"weight_map",
                                          {{"a", "m.safetensors"},
                                           {"b:c", "m.safetensors"},
                                           {"empty", "m.safetensors"},
                                           {"ids", "m.safetensors"},
                                           {"d", "second.safetensors"}}}}
                                        .dump());
  const Json document = quantize("--format hif8 --input m.safetensors.index.json");
  EXPECT_EQ(document.at("tensors").size(), 4u);
  EXPECT_EQ(document.at("skipped").size(), 1u);
  EXPECT_EQ(
      quantize("--format hif8 --input m.safetensors.index.json:d").at("tensors")[0].at("amax"),
      6.0);
  std::filesystem::remove(folder.file("second.safetensors"));
  refuses("--format hif8 --input m.safetensors.index.json", "second.safetensors");
}

TEST_F(QuantizeCli, ReadsHdf5) {
  Hdf5File file = Hdf5File::create(folder.file("x.h5"), "x.h5");
  file.create_group("layer");
  file.write<float>("layer/weight", std::vector<std::int64_t>{2, 3}, mixed);
  file.write<double>("layer/bias", std::vector<std::int64_t>{2}, std::vector<double>{1, -4});
  file.write<float>("scalar", {}, Floats{3});
  file.write<std::int64_t>("steps", {}, std::vector<std::int64_t>{3});
  file.close();
  const Json document = quantize("--format hif8 --input x.h5");
  ASSERT_EQ(document.at("tensors").size(), 3u);
  EXPECT_EQ(document.at("skipped")[0].at("tensor"), "steps");
  EXPECT_EQ(document.at("tensors")[0].at("tensor"), "layer/bias");
  EXPECT_EQ(document.at("tensors")[0].at("dtype"), "F64");
  EXPECT_EQ(document.at("tensors")[1].at("nan_count"), 1);
  EXPECT_EQ(document.at("tensors")[1].at("infinity_count"), 2);
  EXPECT_EQ(document.at("tensors")[2].at("shape"), Json::array());
  EXPECT_EQ(quantize("--format hif8 --input x.h5:layer/bias").at("tensors")[0].at("amax"), 4.0);
}

TEST_F(QuantizeCli, RefusesWhatItCannotRead) {
  write_npy("good.npy", "(2,)", {1, 2});
  const auto refused = [&](const std::string& name, const std::string& bytes) {
    write(name, bytes);
    refuses("--format hif8 --input " + name, "--input: " + name);
  };
  refused("empty.npy", "");
  refused("short.npy", "\x93NUMPY");
  refused("text.npy", "1 2 3\n");
  refused("x.safetensors", "");
  refused("x.safetensors", little(3, 8) + "{}");
  refused("x.safetensors", little(2, 8) + "{}");
  refused("x.safetensors.index.json", "{");
  refused("x.h5", "not HDF5");
  refused("noextension", "something else");
  write_npy("cut.npy", "(3,)", {1, 2});
  refuses("--format hif8 --input cut.npy", "cut.npy");
  refuses("--format hif8 --input nobody.npy", "nobody.npy");
  refuses("--format hif8 --input .", "--input");
  refuses("--format hif8 --input good.npy:other", "other");
}

// ---- What it refuses ---------------------------------------------------------------------------

TEST_F(QuantizeCli, RefusalsNameTheOption) {
  const std::string some = "--size 100" + drawn;
  refuses(some, "--format");
  for (const char* formats : {"e9m9", "e8m0", "hif8,", ",hif8", "hif8;e4m3", "HIF8", "hif8,,e4m3"})
    refuses(some + " --format " + formats, "--format");
  for (const char* scalings : {"tensors", "tensor,", "pow2", "block64"})
    refuses(some + " --format hif8 --scaling " + scalings, "--scaling");
  const std::string hif8 = some + " --format hif8";
  refuses(hif8 + " --overflow wrap", "--overflow");
  refuses(hif8 + " --mx-rule round", "--mx-rule");
  refuses(hif8 + " --rounding up", "--rounding");
  for (const char* x : {"0", "-1", "many", "nan", "inf", "1e99", "1x", "''"})
    refuses(hif8 + " --scale-max " + x, "--scale-max");
  for (const char* x : {"tiny", "nan", "inf"}) refuses(hif8 + " --epsilon " + x, "--epsilon");
  for (const char* n : {"0", "-1", "x"}) refuses(hif8 + " --history " + n, "--history");
  const std::string one = "--format hif8" + drawn;
  for (const char* n : {"0", "-1", "x", "9999999999999999999"}) {
    refuses(one + " --size " + n, "--size");
    refuses(one + " --columns " + n, "--columns");
  }
  for (const char* name : {"gauss", "normal:", "normal:0,0", "uniform:1,0", "normal:0,1,2"})
    refuses(std::string("--format hif8 --distribution ") + name, "--distribution");
}

TEST_F(QuantizeCli, NeedsOneSourceOfNumbers) {
  write_npy("x.npy", "(2,)", {1, 2});
  refuses("--format hif8", "--input");
  refuses("--format hif8 --input x.npy" + drawn, "--input");
}

TEST_F(QuantizeCli, RefusalsNameTheOptionTheyComeFrom) {
  const std::string some = "--size 100" + drawn;
  refuses(some + " --format e4m3 --scale-max 500", "--scale-max: ");
  refuses(some + " --format hif8 --epsilon -1", "--epsilon: ");
  refuses(some + " --format hif8 --rounding floor", "--rounding: ");
  refuses(some + " --format e4m3 --rounding up", "--rounding: ");
}

// ---- What it keeps to --------------------------------------------------------------------------

TEST_F(QuantizeCli, SavesAndShows) {
  write_npy("x.npy", "(2,)", {1, 1000});
  const Json document = quantize(
      "--format hif8,e4m3,int8 --scaling none,tensor --overflow ieee --input x.npy --save q.h5");
  const Json stored = load_result(folder.file("q.h5"));
  EXPECT_EQ(stored.at("document"), document);
  EXPECT_EQ(stored.at("provenance").at("command"), "quantize");
  const Program shown = start("show q.h5");
  EXPECT_EQ(shown.wait(), 0) << shown.err();
  for (const char* part : {"SQNR", "overflow", "int8"})
    EXPECT_NE(shown.out().find(part), std::string::npos) << part << " in " << shown.out();
  quantize("--format hif8 --size 500 --codes --save drawn.h5" + drawn);
  const Program drawing = start("show drawn.h5");
  EXPECT_EQ(drawing.wait(), 0) << drawing.err();
  EXPECT_NE(drawing.out().find("closed form"), std::string::npos);
}

TEST_F(QuantizeCli, SameSeedSameNumbers) {
  const std::string line =
      all_formats + all_scalings +
      " --rounding stochastic --codes --distribution student-t:3,1 --size 150000 --columns 300";
  const Json one = quantize(line + " --threads 1");
  EXPECT_EQ(quantize(line + " --threads 1 --seed 0"), one);
  EXPECT_EQ(quantize(line + " --threads 2"), one);
  EXPECT_NE(quantize(line + " --threads 2 --seed 1"), one);
}

TEST_F(QuantizeCli, SeedReachesStochasticRounding) {
  write_npy("x.npy", "(100,)", Floats(100, 1.0625f));
  const std::string line =
      "--format hif8 --scaling none --rounding stochastic --codes --input x.npy";
  const auto up = [&](const char* seed) {
    return quantize(line + " --seed " + seed).at("codes")[0][9].get<int>();
  };
  EXPECT_NEAR(up("1"), 50, 20);
  EXPECT_FALSE(up("1") == up("2") && up("1") == up("3") && up("1") == up("4"));
  EXPECT_EQ(up("1"), up("1"));
}

TEST_F(QuantizeCli, RankingIsByMedian) {
  Hdf5File file = Hdf5File::create(folder.file("x.h5"), "x.h5");
  for (const auto& [name, values] : std::vector<std::pair<std::string, Floats>>{
           {"a", {1, .3f, .07f, 9}}, {"b", {1e-3f, 5, 7.1f}}, {"c", {100.5f, 3.3f, 41, -7}}})
    file.write<float>(name, std::vector<std::int64_t>{static_cast<std::int64_t>(values.size())},
                      values);
  file.close();
  const Json document = quantize(all_formats + " --scaling none,tensor,token --input x.h5");
  const Json& ranking = document.at("ranking");
  ASSERT_EQ(ranking.size(), 4u * 3 + 2);
  int best = 0;
  for (std::size_t i = 0; i < ranking.size(); ++i) {
    const Json& entry = ranking[i];
    EXPECT_EQ(entry.at("rank"), i + 1);
    best += entry.at("best_of_tensors").get<int>();
    if (i > 0) {
      EXPECT_GE(ranking[i - 1].at("median_sqnr_db"), entry.at("median_sqnr_db"));
    }
    std::vector<double> all;
    for (const Json& row : document.at("results"))
      if (row.at("format") == entry.at("format") && row.at("scaling") == entry.at("scaling"))
        all.push_back(row.at("sqnr_db"));
    std::sort(all.begin(), all.end());
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(entry.at("median_sqnr_db"), all[1]);
    EXPECT_EQ(entry.at("least_sqnr_db"), all[0]);
  }
  EXPECT_EQ(best, 3);
}

TEST_F(QuantizeCli, RankingIsSortedWhereATensorIsExactAndAnotherOverflows) {
  // e5m2 keeps 18 and 1000 inexactly; e4m3 the first exactly and the second not at all, so that it
  // has no median; int8 the first exactly and the second badly: the median of that is infinite.
  Hdf5File file = Hdf5File::create(folder.file("x.h5"), "x.h5");
  file.write<float>("a", std::vector<std::int64_t>{1}, Floats{18});
  file.write<float>("b", std::vector<std::int64_t>{1}, Floats{1000});
  file.close();
  const Json ranking =
      quantize("--format e5m2,e4m3,int8 --scaling none --overflow ieee --input x.h5").at("ranking");
  const auto rank = [&](const char* format) {
    for (const Json& entry : ranking)
      if (entry.at("format") == format) return entry.at("rank").get<int>();
    return 0;
  };
  EXPECT_LT(rank("int8"), rank("e5m2")) << ranking.dump(1);
}

}  // namespace
}  // namespace ospsim
