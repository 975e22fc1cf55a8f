#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "experiments/store/attention_input.hpp"
#include "experiments/store/hdf5_file.hpp"
#include "experiments/store/result_store.hpp"
#include "kernels_ref/cuda/device.hpp"
#include "kernels_ref/formats/wide_float.hpp"
#include "tests/experiments/cli_fixture.hpp"
#include "tests/kernels_ref/support.hpp"

namespace ospsim {
namespace {

// ---- The frame ---------------------------------------------------------------------------------

TEST_F(Cli, HelpHasAnExample) {
  for (const char* command : {"layout", "reach", "recall", "attend", "codec", "quantize", "run",
                              "reproduce", "show", "list", "doctor"}) {
    const Program program = start(std::string(command) + " --help");
    EXPECT_EQ(program.wait(), 0);
    EXPECT_NE(program.out().find("Example:\n"), std::string::npos) << command;
    EXPECT_NE(program.out().find(std::string("ospsim ") + command), std::string::npos) << command;
    for (const char* common : {"--json", "--save", "--seed", "--threads"})
      EXPECT_NE(program.out().find(common), std::string::npos) << command << ' ' << common;
  }
}

TEST_F(Cli, OptionsMayStandBeforeTheOperand) {
  EXPECT_EQ(json("list --threads 1 models"), json("list models"));
}

TEST_F(Cli, RefusesBadWordsInOneLine) {
  expect_refusal("", "command");
  expect_refusal("compute", "compute");
  expect_refusal("layout --bogus", "--bogus");
  expect_refusal("layout --grid", "--grid");
  expect_refusal("reach --grid 1x1x1", "--pattern");
  expect_refusal("reach --grid 1x1x1 --pattern full --seed -1", "--seed");
  expect_refusal("reach --grid 1x1x1 --pattern full --threads many", "--threads");
  expect_refusal("reach --grid 1x1x1 --grid 1x1x1 --pattern full", "--grid");
  expect_refusal("run nothing", "NAME");
  expect_refusal("list nothing", "WHAT");
  expect_refusal("reproduce --quick --claim nobody", "--claim");
  expect_refusal("reproduce --quick --claims nobody.json", "--claims");
  expect_refusal("reproduce --quick --claims .", "--claims");
  expect_refusal("show nobody.h5", "nobody.h5");
}

TEST_F(Cli, RefusesOptionsThatWouldMeanNothing) {
  expect_refusal("comm --frames 41", "--frames");
  expect_refusal("comm --ranks 4 --platform pcie", "--platform");
  expect_refusal("comm --ranks 4 --boundary reshard", "--boundary");
  expect_refusal("run figure1 --grid 1x2x3", "--grid");
  expect_refusal("run attention-time --grid 1x2x3 --record", "--record");
  expect_refusal(
      "quantize --format hif8 --scaling paper-forward --scale-max 5 --distribution "
      "normal:0,1",
      "--scale-max");
  expect_refusal("comm --repetitions 3", "--repetitions");
  expect_refusal("quantize --format hif8 --input x.npy --size 5", "--size");
}

TEST_F(Cli, RefusesBadGridsAndPatterns) {
  const std::string rest = " --pattern skiparse-2d --phase token";
  for (const char* grid :
       {"21x", "0x1x1", "axbxc", "-1x2x3", "99999999x99999999x99999999", "1x2x3x4"})
    expect_refusal("layout --ratio 2" + rest + " --grid " + grid, "--grid");
  for (const char* ratio : {"0", "-2", "two", "2,2", "65537"})
    expect_refusal("layout --grid 2x4x4" + rest + " --ratio " + ratio, "--ratio");
  expect_refusal("layout --grid 2x4x4" + rest, "--ratio");
  expect_refusal("layout --ratio 2" + rest, "--grid");
  expect_refusal("layout --grid 1x1x1 --resolution 720p --ratio 2" + rest, "--grid");
  expect_refusal("layout --resolution 721p --ratio 2" + rest, "--resolution");
  expect_refusal("layout --resolution 720p --frames 80 --ratio 2" + rest, "--resolution");
  expect_refusal("layout --grid 2x4x4 --ratio 2 --pattern skiparse-9d --phase token", "--pattern");
  expect_refusal("layout --grid 2x4x4 --ratio 2 --pattern skiparse-2d --phase third", "--phase");
  expect_refusal("layout --grid 1x1x1 --ratio 65536 --pattern skiparse-2d --phase token",
                 "pattern");
  expect_refusal("layout --grid 300x300x300 --pattern full --phase token --indices", "--indices");
  expect_refusal("layout --grid 2x4x4 --frames 5 --ratio 2" + rest, "--frames");
  expect_refusal("reach --grid 2x4x4 --pattern full --hops 0", "--hops");
}

TEST_F(Cli, TakesAnyBytesInItsWords) {
  const Words lines{"reach", "--grid", "1\n2", "--pattern", "full"};
  expect_refusal(Program(lines, {.folder = folder.path()}), 2, "--grid");
  const Words bytes{"reach", "--grid", "1x2x2", "--pattern", "full", "--save", "\xff.h5", "--json"};
  const Program program(bytes, {.folder = folder.path()});
  EXPECT_EQ(program.wait(), 0);
  EXPECT_NO_THROW(load_result(folder.file("\xff.h5")));
}

TEST_F(Cli, SaysWhenStandardOutputIsFull) {
  const Program program(words("doctor"), {.folder = folder.path(), .standard_output = "/dev/full"});
  EXPECT_EQ(program.wait(), 2);
  EXPECT_NE(program.err().find("standard output"), std::string::npos);
}

TEST_F(Cli, SavesWholeResultsOrNone) {
  const std::string reach = "reach --grid 2x5x7 --pattern skiparse-2d --ratio 2 --seed 4";
  const Json document = json(reach + " --save r.h5");
  const Json stored = load_result(folder.file("r.h5"));
  EXPECT_EQ(stored.at("document"), document);
  EXPECT_EQ(stored.at("provenance").at("command_line"), "ospsim " + reach + " --save r.h5 --json");
  EXPECT_EQ(stored.at("provenance").at("seed"), 4);
  EXPECT_EQ(json("show r.h5"), stored);
  const Program shown = start("show r.h5");
  EXPECT_EQ(shown.wait(), 0);
  EXPECT_NE(shown.out().find("average distance"), std::string::npos);

  EXPECT_EQ(json("show r.h5 --save shown.h5"), stored);
  EXPECT_EQ(load_result(folder.file("shown.h5")).at("document"), stored);
  expect_refusal("show r.h5 --save r.h5", "--save");
  expect_refusal("show ./r.h5 --save r.h5", "--save");

  expect_refusal(reach + " --save no/such/folder/r.h5", "--save");
  expect_refusal(reach + " --save r.h5/x.h5", "--save");
  expect_refusal(reach + " --save /dev/full", "--save");
  expect_refusal(reach + " --save .", "--save");
  expect_refusal(Program(words(reach + " --save full.h5"),
                         {.folder = folder.path(), .largest_file_bytes = 4000}),
                 2, "full.h5");
  EXPECT_EQ(folder.entries(), 2u);
}

// ---- layout, reach, doctor, list, run ----------------------------------------------------------

TEST_F(Cli, LayoutFields) {
  const Json paper = json("layout --resolution 720p --pattern skiparse-2d --phase group --ratio 2");
  EXPECT_EQ(paper.at("padded_grid"), (Json{21, 48, 80}));
  EXPECT_EQ(paper.at("subsequences"), 4);
  EXPECT_EQ(paper.at("subsequence_length"), 20160);
  EXPECT_EQ(paper.at("sparsity"), 4);
  EXPECT_EQ(paper.at("spelled"), "y0,x0|y1,x1");
  EXPECT_EQ(paper.at("valid_lengths"), (Json{{{"valid_tokens", 18480}, {"subsequences", 2}},
                                             {{"valid_tokens", 19320}, {"subsequences", 2}}}));
  const Json flat = json("layout --grid 1x3x5 --pattern skiparse-1d --phase token --ratio 4");
  EXPECT_FALSE(flat.contains("padded_grid"));
  EXPECT_EQ(flat.at("padded_tokens"), 16);
  EXPECT_EQ(
      json("layout --grid 1x4x4 --pattern window --tiles 1,2,2 --phase token").at("subsequences"),
      4);
  EXPECT_EQ(json("layout --grid 3x4x4 --pattern 2+1d --phase token").at("subsequences"), 3);
  EXPECT_EQ(json("layout --grid 2x3x5 --pattern skiparse-1d --per-frame --phase token --ratio 2")
                .at("spelled"),
            "s0|s1");
}

TEST_F(Cli, LayoutIndicesAreTheIndexFormOfThePaper) {
  constexpr std::int64_t T = 2, H = 5, W = 7, k = 2, padded_h = 8, padded_w = 8;
  for (const char* phase : {"token", "group"}) {
    const Json document =
        json(std::string("layout --grid 2x5x7 --pattern skiparse-2d --ratio 2 --indices --phase ") +
             phase);
    const bool token = phase[0] == 't';
    std::size_t i = 0;
    for (std::int64_t t = 0; t < T; ++t)
      for (std::int64_t y = 0; y < H; ++y)
        for (std::int64_t x = 0; x < W; ++x, ++i) {
          const std::int64_t y0 = y % k, y1 = y / k % k, yb = y / (k * k);
          const std::int64_t x0 = x % k, x1 = x / k % k, xb = x / (k * k);
          const std::int64_t row = yb * k + (token ? y1 : y0), column = xb * k + (token ? x1 : x0);
          EXPECT_EQ(document.at("subsequence")[i], token ? y0 * k + x0 : y1 * k + x1);
          EXPECT_EQ(document.at("slot")[i], (t * (padded_h / k) + row) * (padded_w / k) + column);
        }
    EXPECT_EQ(document.at("slot").size(), i);
  }
}

TEST_F(Cli, ReachFields) {
  // 1x4x4, ratio 2, by hand: 3 + 3 others in one operation, the other 9 in two.
  const Json square = json("reach --grid 1x4x4 --pattern skiparse-2d --ratio 2 --hops 2");
  EXPECT_EQ(square.at("tokens"), 16);
  EXPECT_EQ(square.at("sparsity"), 4);
  EXPECT_EQ(square.at("phase_flops_per_channel"), (Json{4. * 4 * 16, 4. * 4 * 16}));
  ASSERT_EQ(square.at("reach").size(), 2u);
  EXPECT_EQ(square.at("reach")[0].at("hops"), 1);
  EXPECT_EQ(square.at("reach")[0].at("fraction_min"), .25);
  EXPECT_EQ(square.at("reach")[0].at("fraction_mean_exact"), "1/4");
  EXPECT_EQ(square.at("reach")[1].at("fraction_mean"), 1.0);
  EXPECT_EQ(square.at("average_distance"), 1.5);
  EXPECT_EQ(square.at("average_distance_connected_exact"), "3/2");
  EXPECT_EQ(square.at("unconnected_fraction"), 0.0);
  EXPECT_EQ(square.at("neighbour_coverage")[2].at("radius"), 4);
  EXPECT_GT(square.at("anisotropy"), 0);
  EXPECT_EQ(json("reach --grid 1x2x2 --pattern full").at("reach").size(), 3u);

  // Two tiles that never meet: half of the pairs, and each has one partner.
  const Json tiles = json("reach --grid 1x1x4 --pattern window --ratio 1,1,2");
  EXPECT_TRUE(tiles.at("average_distance").is_null());
  EXPECT_EQ(tiles.at("unconnected_fraction"), .5);
  EXPECT_EQ(tiles.at("average_distance_connected"), .5);
  EXPECT_TRUE(json("reach --grid 1x1x4 --pattern window --ratio 1,1,4").at("anisotropy").is_null());
  EXPECT_EQ(json("reach --grid 3x4x5 --pattern 2+1d").at("phase_sparsity"), (Json{3, 20}));
  EXPECT_TRUE(json("reach --grid 3x1x1 --pattern full")
                  .at("neighbour_coverage")[0]
                  .at("fraction")
                  .is_null());
}

TEST_F(Cli, DoctorListAndFigure) {
  const Json features = json("doctor").at("features");
  for (const char* name :
       {"cuda", "cublaslt", "cudnn", "mpi", "hdf5", "simgrid", "torch", "avx512", "amx"}) {
    const Json& feature = features.at(name);
    EXPECT_TRUE(feature.at("built").is_boolean() && feature.at("reason").is_string()) << name;
    EXPECT_NE(feature.at("available").get<bool>(), !feature.at("reason").get<std::string>().empty())
        << name;
  }
  const Json all = json("list");
  EXPECT_EQ(all.at("patterns").size(), 7u);
  EXPECT_EQ(all.at("commands").size(), 12u);
  EXPECT_GT(json("list claims").at("claims").size(), 100u);
  for (const Json& row : json("list platforms").at("platforms")) {
    EXPECT_GT(row.at("value").get<double>(), 0) << row;
    for (const char* field : {"platform", "field", "unit", "kind", "source"})
      EXPECT_FALSE(row.at(field).get<std::string>().empty()) << row;
  }
  const Json figure = json("run figure1 --save figure.h5");
  EXPECT_EQ(figure.at("720p").at("skiparse-2d").at("token").at("subsequence").size(), 45u);
  EXPECT_EQ(figure.at("small").at("skiparse-1d").at("group").at("attended")[3][3], 1);
}

TEST_F(Cli, AttentionTimeChecksItselfAndMeasuresEachCase) {
  const Json times = json("run attention-time --grid 2x9x10 --save times.h5 --seed 1 --threads 1");
  EXPECT_EQ(times.at("holds"), true);
  for (const auto& row : times.at("cases")) {
    EXPECT_GT(row.at("time_ms").get<double>(), 0);
    EXPECT_LE(row.at("relative_l2_error").get<double>(), 5e-6);
  }
  EXPECT_EQ(times.at("samples").size(), 7 * times.at("cases").size());
}

// ---- attend ------------------------------------------------------------------------------------

constexpr std::int64_t heads = 2, tokens = 2 * 5 * 7, head_dim = 16;
const std::string attend_words = " --grid 2x5x7 --pattern skiparse-2d --ratio 2 --phase group";

class Attend : public Cli {
 protected:
  using Tensors = std::map<std::string, std::vector<double>>;

  static Tensors random_tensors() {
    Tensors tensors;
    for (const char* name : {"q", "k", "v"})
      tensors[name] = normal(heads * tokens * head_dim, static_cast<std::uint64_t>(name[0]));
    return tensors;
  }

  template <class T = float>
  void write(const std::string& name, const Tensors& tensors,
             const std::vector<std::int64_t>& shape = {heads, tokens, head_dim}) const {
    Hdf5File file = Hdf5File::create(folder.file(name), name);
    for (const auto& [dataset, values] : tensors)
      file.write<T>(dataset, shape, converted<T>(values));
    file.close();
  }

  std::vector<double> output(const std::string& name) const {
    const Hdf5File file = Hdf5File::open(folder.file(name));
    EXPECT_EQ(file.shape("o"), (std::vector<std::int64_t>{heads, tokens, head_dim}));
    std::vector<double> o(heads * tokens * head_dim);
    file.read_rows<double>("o", 0, heads, o);
    return o;
  }

  /// Softmax attention over all pairs, those of other sub-sequences masked out: y1, x1 must agree.
  static std::vector<double> masked_attention(const Tensors& in) {
    const auto at = [&](const char* tensor, std::int64_t h, std::int64_t i, std::int64_t d) {
      return in.at(tensor)[static_cast<std::size_t>((h * tokens + i) * head_dim + d)];
    };
    const auto together = [](std::int64_t i, std::int64_t j) {
      return i / 7 % 5 / 2 % 2 == j / 7 % 5 / 2 % 2 && i % 7 / 2 % 2 == j % 7 / 2 % 2;
    };
    std::vector<double> o;
    for (std::int64_t h = 0; h < heads; ++h)
      for (std::int64_t i = 0; i < tokens; ++i) {
        std::vector<double> row(head_dim);
        double sum = 0;
        for (std::int64_t j = 0; j < tokens; ++j) {
          if (!together(i, j)) continue;
          double logit = 0;
          for (std::int64_t d = 0; d < head_dim; ++d) logit += at("q", h, i, d) * at("k", h, j, d);
          const double weight = std::exp(logit / std::sqrt(double{head_dim}));
          sum += weight;
          for (std::int64_t d = 0; d < head_dim; ++d)
            row[static_cast<std::size_t>(d)] += weight * at("v", h, j, d);
        }
        for (const double value : row) o.push_back(value / sum);
      }
    return o;
  }
};

TEST_F(Attend, EqualsMaskedAttention) {
  const Tensors tensors = random_tensors();
  write("in.h5", tensors);
  write<double>("double.h5", tensors);
  const auto expected = masked_attention(tensors);
  for (const char* line :
       {"--input in.h5 --backend naive", "--input double.h5 --backend naive",
        "--input in.h5 --backend cpu", "--input double.h5 --backend cpu --threads 2"}) {
    const Json report = json("attend --output out.h5 " + (line + attend_words));
    EXPECT_LE(relative_l2(output("out.h5"), expected), 2e-6) << line;
    EXPECT_GT(report.at("time_ms").get<double>(), 0);
    // Rows 0,1,4 and 2,3 of five go together, columns 0,1,4,5 and 2,3,6 of seven, in both frames.
    constexpr double pairs = (2 * 2) * (3 * 3 + 2 * 2) * (4 * 4 + 3 * 3);
    EXPECT_EQ(report.at("flops"), 4 * pairs * head_dim * heads);
    EXPECT_NEAR(report.at("gflops_per_s").get<double>(),
                report.at("flops").get<double>() / report.at("time_ms").get<double>() * 1e-6, 1e-9);
  }
  EXPECT_EQ(folder.entries(), 3u);
}

TEST_F(Attend, RoundsToBf16) {
  Tensors tensors = random_tensors();
  write("in.h5", tensors);
  json("attend --input in.h5 --output out.h5 --backend naive --precision bf16" + attend_words);
  for (auto& [name, values] : tensors)
    for (double& value : values) value = round_to_bf16(static_cast<float>(value));
  auto expected = masked_attention(tensors);
  for (double& value : expected) value = round_to_bf16(static_cast<float>(value));
  EXPECT_LE(relative_l2(output("out.h5"), expected), 1e-4);  // a rounding may fall the other way
}

TEST_F(Attend, RefusesBadInput) {
  const auto refuses = [&](const std::string& file, const std::string& names) {
    expect_refusal("attend --backend cpu --output out.h5 --input " + file + attend_words, names);
  };
  const Tensors good = random_tensors();
  write("good.h5", good);
  refuses("nobody.h5", "nobody.h5");
  refuses(".", "--input");

  Tensors bad = good;
  bad["k"][static_cast<std::size_t>((1 * tokens + 3) * head_dim + 5)] = std::nan("");
  write("nan.h5", bad);
  refuses("nan.h5", "k[1, 3, 5] is nan");
  bad = good;
  bad["v"][0] = -INFINITY;
  write("inf.h5", bad);
  refuses("inf.h5", "v[0, 0, 0] is -inf");
  bad = good;
  for (auto& value : bad["q"]) value = 1e30;
  bad["k"] = bad["q"];
  write("large.h5", bad);
  refuses("large.h5", "too large");

  bad = good;
  bad.erase("v");
  write("missing.h5", bad);
  refuses("missing.h5", "'v'");
  write("shape.h5", good, {heads, tokens / 2, head_dim * 2});
  refuses("shape.h5", "'q' has the shape [2, 35, 32]");
  write("flat.h5", good, {heads * tokens * head_dim});
  refuses("flat.h5", "'q'");
  write<std::int64_t>("whole.h5", good);
  refuses("whole.h5", "'q'");

  std::filesystem::copy(folder.file("good.h5"), folder.file("cut.h5"));
  for (const std::uintmax_t size : {20000u, 3000u, 100u, 1u}) {
    std::filesystem::resize_file(folder.file("cut.h5"), size);
    refuses("cut.h5", "cut.h5");
  }
  std::filesystem::resize_file(folder.file("cut.h5"), 0);
  refuses("cut.h5", "cut.h5");
  EXPECT_FALSE(std::filesystem::exists(folder.file("out.h5")));
}

TEST_F(Attend, RefusesBadOutput) {
  write("in.h5", random_tensors());
  const std::string attend = "attend --backend cpu --input in.h5" + attend_words + " --output ";
  for (const char* out :
       {"no/such/folder/o.h5", "in.h5", "./in.h5", "in.h5/o.h5", ".", "/dev/full"})
    expect_refusal(attend + out, "--output");
  for (const rlim_t limit : {300u, 4000u, 12000u})
    expect_refusal(
        Program(words(attend + "o.h5"), {.folder = folder.path(), .largest_file_bytes = limit}), 2,
        "o.h5");
  expect_refusal("attend --backend gpu --input in.h5 --output o.h5" + attend_words, "--backend");
  expect_refusal("attend --backend cpu --precision f16 --input in.h5 --output o.h5" + attend_words,
                 "--precision");
  EXPECT_EQ(folder.entries(), 1u);
}

TEST_F(Attend, SaysWhatThisMachineLacks) {
  if (cuda_status().available) GTEST_SKIP() << "this machine has a CUDA device";
  write("in.h5", random_tensors());
  expect_refusal(start("attend --backend cuda --input in.h5 --output o.h5" + attend_words), 3,
                 "cuda");
  EXPECT_EQ(folder.entries(), 1u);
}

TEST_F(Attend, InterruptedLeavesNothing) {
  Tensors long_work;
  for (const char* name : {"q", "k", "v"})
    long_work[name] = std::vector<double>(heads * 16384, 1.0);
  write("in.h5", long_work, {heads, 16384, 1});
  const Program program = start(
      "attend --backend naive --input in.h5 --output o.h5 --grid 1x128x128 --pattern full --phase "
      "token");
  for (int tries = 0; folder.entries() < 2 && tries < 1000; ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(folder.entries(), 2u);
  program.interrupt();
  EXPECT_EQ(program.wait(), 130);
  EXPECT_EQ(folder.entries(), 1u);
}

// ---- reproduce ---------------------------------------------------------------------------------

TEST_F(Cli, ReproduceHasEveryFieldOfEveryClaim) {
  const Program program = start("reproduce --quick --json --save r.h5");
  const int status = program.wait();
  const Json document = Json::parse(program.out());
  EXPECT_EQ(status, document.at("unexpected").empty() ? 0 : 1);
  const std::set<std::string> how{"exact",     "measured-cpu", "measured-cuda", "measured-mpi",
                                  "simulated", "modelled",     "reported-only"};
  const std::set<std::string> statuses{"reproduced", "outside-tolerance", "contradicted",
                                       "not-reproducible-here", "not-implemented-yet"};
  std::set<std::string> ids;
  for (const auto& claim : document.at("claims")) {
    for (const char* field : {"id", "source", "statement", "published", "ours", "unit", "how",
                              "tolerance", "status", "result_file"})
      ASSERT_TRUE(claim.contains(field)) << claim;
    EXPECT_TRUE(ids.insert(claim.at("id")).second);
    EXPECT_TRUE(how.contains(claim.at("how")));
    EXPECT_TRUE(statuses.contains(claim.at("status")));
    if (claim.at("how") == "exact") {
      EXPECT_EQ(claim.at("status"), claim.at("expected")) << claim.at("id");
    }
  }
  EXPECT_TRUE(ids.contains("table2.h200.720p.osp.8"));
}

TEST_F(Cli, ReproduceFailsWhenAClaimTurnsOutOtherwise) {
  const auto claims = [](const char* expected) {
    return Json{{"claims",
                 {{{"id", "x.y"},
                   {"source", "s"},
                   {"statement", "t"},
                   {"kind", "claim"},
                   {"published", 5},
                   {"unit", "tokens"},
                   {"how", "exact"},
                   {"tolerance", {{"absolute", 0}}},
                   {"method",
                    {{"name", "padded_tokens"},
                     {"grid", "1x1x3"},
                     {"pattern", "window"},
                     {"ratio", "1,1,2"}}},
                   {"expected", expected},
                   {"reason", "padding"}}}}};
  };
  const auto status_with = [&](const char* expected) {
    std::ofstream(folder.file("claims.json")) << claims(expected);
    return start("reproduce --quick --claims claims.json --save r.h5").wait();
  };
  EXPECT_EQ(status_with("outside-tolerance"), 0);
  EXPECT_EQ(status_with("reproduced"), 1);
  const Program one =
      start("reproduce --quick --claims claims.json --claim x.y --save r.h5 --json");
  EXPECT_EQ(one.wait(), 1);
  EXPECT_EQ(Json::parse(one.out()).at("unexpected"), Json{"x.y"});
  EXPECT_EQ(Json::parse(one.out()).at("claims")[0].at("ours"), 4.0);
}

}  // namespace
}  // namespace ospsim
