#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <functional>
#include <set>

#include "experiments/store/hdf5_file.hpp"
#include "tests/experiments/cli_fixture.hpp"
#include "tests/kernels_ref/support.hpp"

namespace ospsim {
namespace {

// ---- Who attends to whom, written out ----------------------------------------------------------

struct Extents {
  int t, h, w;

  int tokens() const { return t * h * w; }
  std::string text() const { return fmt::format("{}x{}x{}", t, h, w); }
};

struct Token {
  int t, y, x, s, i;
};

Token token(const Extents& grid, std::size_t number) {
  const int i = static_cast<int>(number), s = i % (grid.h * grid.w);
  return {i / (grid.h * grid.w), s / grid.w, s % grid.w, s, i};
}

using Rule = std::function<bool(const Token&, const Token&)>;

/// Tokens attend to those of which the same is true.
template <class Class>
Rule same(const Class& of) {
  return [of](const Token& q, const Token& k) { return of(q) == of(k); };
}

Rule all() {
  return [](const Token&, const Token&) { return true; };
}

std::vector<Rule> skiparse_1d(int ratio, int Token::*along) {
  return {same([=](const Token& a) { return a.*along % ratio; }),
          same([=](const Token& a) { return a.*along / ratio % ratio; })};
}

std::vector<Rule> skiparse_3d(int kt, int ky, int kx) {
  const auto digit = [](int coordinate, int ratio, int level) {
    return level == 0 ? coordinate % ratio : coordinate / ratio % ratio;
  };
  std::vector<Rule> phases;
  for (const int level : {0, 1})
    phases.push_back(same([=](const Token& a) {
      return std::tuple(digit(a.t, kt, level), digit(a.y, ky, level), digit(a.x, kx, level));
    }));
  return phases;
}

Rule tiles(const Extents& grid, int nt, int ny, int nx) {
  const auto size = [](int extent, int count) { return (extent + count - 1) / count; };
  return same([t = size(grid.t, nt), y = size(grid.h, ny), x = size(grid.w, nx)](const Token& a) {
    return std::tuple(a.t / t, a.y / y, a.x / x);
  });
}

/// Within a window of so many (odd) of `count`, shifted inward at the ends.
bool near(int query, int key, int count, int window) {
  if (window >= count) return true;
  const int centre = std::clamp(query, window / 2, count - 1 - window / 2);
  return std::abs(centre - key) <= window / 2;
}

Rule local(const Extents& grid, int t, int y, int x) {
  return [=](const Token& q, const Token& k) {
    return near(q.t, k.t, grid.t, t) && near(q.y, k.y, grid.h, y) && near(q.x, k.x, grid.w, x);
  };
}

/// Tiles of 1x2x2.
Rule sliding_tile(const Extents& grid, int y, int x) {
  return [=](const Token& q, const Token& k) {
    return near(q.y / 2, k.y / 2, (grid.h + 1) / 2, y) &&
           near(q.x / 2, k.x / 2, (grid.w + 1) / 2, x);
  };
}

struct Case {
  Extents grid;
  std::string options;
  std::vector<Rule> phases;

  std::string line() const { return fmt::format("--grid {} --pattern {}", grid.text(), options); }
};

std::vector<Case> cases() {
  const Extents ragged{2, 5, 7}, one_frame{1, 6, 9}, even{2, 8, 4};
  return {{ragged, "full", {all()}},
          {ragged, "skiparse-2d --ratio 1", {all(), all()}},
          {ragged, "skiparse-2d --ratio 2", skiparse_3d(1, 2, 2)},
          {one_frame, "skiparse-2d --ratio 3", skiparse_3d(1, 3, 3)},
          {{5, 3, 4}, "skiparse-3d --ratio 2,1,3", skiparse_3d(2, 1, 3)},
          {ragged, "skiparse-1d --ratio 2", skiparse_1d(2, &Token::s)},
          {ragged, "skiparse-1d --ratio 2 --per-frame", skiparse_1d(2, &Token::s)},
          {ragged, "skiparse-1d --ratio 2 --whole-video", skiparse_1d(2, &Token::i)},
          {one_frame, "skiparse-1d --ratio 4", skiparse_1d(4, &Token::s)},
          {{3, 1, 7}, "skiparse-1d --ratio 3 --whole-video", skiparse_1d(3, &Token::i)},
          {ragged, "window --tiles 2,2,3", {tiles(ragged, 2, 2, 3)}},
          {{3, 4, 5}, "2+1d", {same([](const Token& a) { return a.t; }), same([](const Token& a) {
                                 return a.s;
                               })}},
          {ragged,
           "skip+window --ratio 3",
           {same([](const Token& a) { return a.i % 3; }),
            same([](const Token& a) { return a.i / 3; })}},
          {even, "y0,x0|y/2,x/2 --ratio 2", {skiparse_3d(1, 2, 2)[0], tiles(even, 1, 2, 2)}},
          {ragged, "local:window=1x3x5", {local(ragged, 1, 3, 5)}},
          {ragged, "sliding-tile:tile=1x2x2,window=9x1x3", {sliding_tile(ragged, 1, 3)}}};
}

// ---- The error of an output, by its definition --------------------------------------------------

struct PhaseNumbers {
  double recall = 0, output_error = 0;
};

double gaussian(int distance, double length) {
  if (length == 0) return distance == 0 ? 1 : 0;
  return std::exp(-distance * distance / (2 * length * length));
}

std::vector<PhaseNumbers> modelled(const Extents& grid, const std::vector<Rule>& phases, double s) {
  const auto tokens = static_cast<std::size_t>(grid.tokens());
  using Row = std::vector<double>;
  std::vector<Row> kernel(tokens, Row(tokens)), rho(kernel);
  for (std::size_t q = 0; q < tokens; ++q) {
    double sum = 0;
    for (std::size_t k = 0; k < tokens; ++k) {
      const Token a = token(grid, q), b = token(grid, k);
      kernel[q][k] = gaussian(a.t - b.t, std::isinf(s) ? s : 2) * gaussian(a.y - b.y, s) *
                     gaussian(a.x - b.x, s);
      sum += kernel[q][k];
      for (const double length : {0, 1, 2, 4, 8, 16})
        rho[q][k] +=
            gaussian(a.t - b.t, 4) * gaussian(a.y - b.y, length) * gaussian(a.x - b.x, length) / 6;
    }
    for (double& share : kernel[q]) share /= sum;
  }
  const auto square = [&](const Row& u) {
    double sum = 0;
    for (std::size_t i = 0; i < tokens; ++i)
      for (std::size_t j = 0; j < tokens; ++j) sum += u[i] * rho[i][j] * u[j];
    return sum;
  };

  std::vector<PhaseNumbers> numbers;
  for (const Rule& attends : phases) {
    double recall = 0, error_2 = 0, norm_2 = 0;
    for (std::size_t q = 0; q < tokens; ++q) {
      double kept = 0;
      for (std::size_t k = 0; k < tokens; ++k)
        if (attends(token(grid, q), token(grid, k))) kept += kernel[q][k];
      Row difference(tokens);
      for (std::size_t k = 0; k < tokens; ++k)
        difference[k] =
            (attends(token(grid, q), token(grid, k)) ? kernel[q][k] / kept : 0) - kernel[q][k];
      recall += kept;
      error_2 += square(difference);
      norm_2 += square(kernel[q]);
    }
    numbers.push_back({recall / static_cast<double>(tokens), std::sqrt(error_2 / norm_2)});
  }
  return numbers;
}

double over_phases(const std::vector<PhaseNumbers>& phases) {
  double sum = 0;
  for (const auto& phase : phases) sum += phase.output_error * phase.output_error;
  return std::sqrt(sum / static_cast<double>(phases.size()));
}

double number(const Json& object, const char* field) {
  return object.at(field).get<double>();
}

void expect_phases(const Json& document, const std::vector<PhaseNumbers>& expected,
                   double tolerance, const std::string& line) {
  ASSERT_EQ(document.at("phases").size(), expected.size()) << line;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const Json& phase = document.at("phases")[i];
    EXPECT_EQ(phase.at("phase"), i == 0 ? "token" : "group") << line;
    EXPECT_NEAR(number(phase, "recall"), expected[i].recall, tolerance) << line;
    EXPECT_NEAR(number(phase, "output_error"), expected[i].output_error, tolerance) << line;
    EXPECT_EQ(phase.at("recall_se"), 0.0) << line;
    EXPECT_EQ(phase.at("output_error_se"), 0.0) << line;
  }
  EXPECT_NEAR(number(document, "output_error"), over_phases(expected), tolerance) << line;
}

class Recall : public Cli {
 protected:
  Json recall(const std::string& line) const { return json("recall " + line); }
  void refuses(const std::string& line, const std::string& names) const {
    expect_refusal("recall " + line, names + ": ");
  }
  std::string text_of(const std::string& line) const {
    const Program program = start(line);
    EXPECT_EQ(program.wait(), 0) << line << '\n' << program.err();
    return program.out();
  }
};

// ---- On the model of attention -----------------------------------------------------------------

TEST_F(Recall, IsWhatTheDefinitionSays) {
  const double infinite = std::numeric_limits<double>::infinity();
  for (const Case& c : cases())
    for (const auto& [option, bandwidth] : std::vector<std::pair<std::string, double>>{
             {"", 3}, {" --bandwidth 0.6", .6}, {" --bandwidth inf", infinite}}) {
      const std::string line = c.line() + option;
      expect_phases(recall(line), modelled(c.grid, c.phases, bandwidth), 1e-9, line);
    }
}

TEST_F(Recall, TableHoldsTheBandwidths) {
  const Case c = cases()[2];
  const Json document = recall(c.line());
  const std::vector<double> bandwidths{.7, 1, 1.5, 2, 3, 4, 8, 16};
  ASSERT_EQ(document.at("table").size(), bandwidths.size());
  for (std::size_t i = 0; i < bandwidths.size(); ++i) {
    const Json& row = document.at("table")[i];
    EXPECT_EQ(row.at("bandwidth"), bandwidths[i]);
    expect_phases(row, modelled(c.grid, c.phases, bandwidths[i]), 1e-9, row.dump());
  }
}

TEST_F(Recall, HasEveryField) {
  const Json two = recall("--grid 2x5x7 --pattern skiparse-2d --ratio 2");
  EXPECT_EQ(two.at("grid"), (Json{2, 5, 7}));
  EXPECT_EQ(two.at("tokens"), 70);
  EXPECT_EQ(two.at("pattern"), "skiparse-2d");
  EXPECT_EQ(two.at("spelled"), "y0,x0|y1,x1");
  EXPECT_EQ(two.at("ratio"), 2);
  EXPECT_EQ(two.at("sparsity"), 4);
  EXPECT_EQ(two.at("phase_sparsity"), (Json{4, 4}));
  EXPECT_EQ(two.at("bandwidth"), 3.0);
  EXPECT_EQ(two.at("how"), "modelled");
  EXPECT_FALSE(two.contains("against") || two.contains("crossovers"));
  EXPECT_EQ(recall("--grid 3x4x5 --pattern 2+1d").at("phase_sparsity"), (Json{3, 20}));
  EXPECT_EQ(recall("--grid 2x5x7 --pattern skiparse-1d --ratio 4").at("spelled"), "s0|s1");
  EXPECT_EQ(recall("--grid 2x5x7 --pattern skiparse-1d --ratio 4 --whole-video").at("spelled"),
            "i0|i1");
  EXPECT_EQ(recall("--resolution 480p --frames 1 --pattern full").at("grid"), (Json{1, 30, 52}));
}

TEST_F(Recall, FullAttentionLosesNothing) {
  for (const char* pattern : {"full", "skiparse-1d --ratio 1", "skiparse-2d --ratio 1",
                              "skiparse-3d --ratio 1", "window --tiles 1"})
    for (const char* bandwidth : {" --bandwidth 1e-9", " --bandwidth inf"}) {
      const Json document = recall(std::string("--grid 3x5x7 --pattern ") + pattern + bandwidth);
      EXPECT_NEAR(number(document, "output_error"), 0, 1e-12) << pattern << bandwidth;
      for (const Json& phase : document.at("phases")) {
        EXPECT_NEAR(number(phase, "output_error"), 0, 1e-12) << pattern << bandwidth;
        EXPECT_NEAR(number(phase, "recall"), 1, 1e-12) << pattern << bandwidth;
      }
    }
}

TEST_F(Recall, OfUniformAttentionIsOneOverSparsity) {
  for (const char* line : {"--grid 2x4x8 --pattern skiparse-2d --ratio 2",
                           "--grid 3x9x9 --pattern skiparse-2d --ratio 3",
                           "--grid 3x4x8 --pattern skiparse-1d --ratio 4",
                           "--grid 2x4x8 --pattern window --tiles 2,2,4",
                           "--grid 4x4x4 --pattern skiparse-3d --ratio 2"}) {
    const Json document = recall(std::string(line) + " --bandwidth inf");
    EXPECT_EQ(document.at("bandwidth"), "infinite");
    EXPECT_GT(number(document, "sparsity"), 1) << line;
    for (const Json& phase : document.at("phases")) {
      EXPECT_NEAR(number(phase, "recall") * number(document, "sparsity"), 1, 1e-12) << line;
      EXPECT_GT(number(phase, "output_error"), .01) << line;
    }
  }
}

TEST_F(Recall, OfSkiparse1dIsPerFrameUnlessToldOtherwise) {
  const std::string line = "--grid 2x5x7 --pattern skiparse-1d --ratio 2";
  const Json framed = recall(line), whole = recall(line + " --whole-video");
  EXPECT_GT(std::abs(number(framed, "output_error") - number(whole, "output_error")), .01);
  EXPECT_EQ(recall(line + " --per-frame"), framed);
  EXPECT_EQ(recall("--grid 2x5x7 --pattern s0|s1 --ratio 2").at("phases"), framed.at("phases"));
  const Json against =
      recall("--grid 2x5x7 --pattern full --against skiparse-1d --against-ratio 2");
  EXPECT_EQ(against.at("against").at("phases"), framed.at("phases"));
}

TEST_F(Recall, KnowsWhereTwoPatternsChangePlaces) {
  const auto compared = [&](const std::string& grid) {
    return recall("--grid " + grid +
                  " --pattern skiparse-2d --ratio 2 --against skiparse-1d --against-ratio 4");
  };
  const Json document = compared("21x45x80");
  ASSERT_EQ(document.at("crossovers").size(), 1u);
  EXPECT_NEAR(document.at("crossovers")[0].get<double>(), 1.779, .002);
  EXPECT_EQ(document.at("against").at("pattern"), "skiparse-1d");
  EXPECT_EQ(document.at("against").at("ratio"), 4);
  EXPECT_EQ(document.at("against").at("table").size(), 8u);
  for (std::size_t i = 0; i < 8; ++i) {
    const Json &one = document.at("table")[i], &other = document.at("against").at("table")[i];
    EXPECT_EQ(number(one, "output_error") < number(other, "output_error"),
              number(one, "bandwidth") > 1.779);
  }
  EXPECT_NEAR(compared("21x48x80").at("crossovers")[0].get<double>(), 1.780, .002);
  const Json never = recall("--grid 2x5x7 --pattern full --against skiparse-2d --against-ratio 2");
  EXPECT_EQ(never.at("crossovers"), Json::array());
}

TEST_F(Recall, ErrorsAreEqualAtACrossover) {
  const Extents grid{2, 6, 11};
  const Json document = recall("--grid " + grid.text() +
                               " --pattern skiparse-2d --ratio 2 --against skiparse-1d "
                               "--against-ratio 4");
  ASSERT_FALSE(document.at("crossovers").empty());
  for (const Json& s : document.at("crossovers"))
    EXPECT_NEAR(over_phases(modelled(grid, skiparse_3d(1, 2, 2), s)),
                over_phases(modelled(grid, skiparse_1d(4, &Token::s), s)), 1e-5);
}

TEST_F(Recall, SeedMattersOnlyWhereQueriesAreSampled) {
  const std::string grid = "--grid 2x12x13 --queries 64 --pattern ";
  for (const char* pattern : {"skiparse-2d --ratio 2", "local:window=1x3x3"}) {
    const Json document = recall(grid + pattern);
    EXPECT_EQ(recall(grid + pattern + " --seed 7"), document);
    EXPECT_EQ(document.at("phases")[0].at("recall_se"), 0.0);
  }
  for (const char* pattern : {"skiparse-1d --ratio 3", "skiparse-1d --ratio 3 --whole-video",
                              "svg-spatial:density=0.2,block=8"}) {
    const Json sampled = recall(grid + pattern);
    const Json exact = recall(std::string("--grid 2x12x13 --queries 0 --pattern ") + pattern);
    EXPECT_NE(recall(grid + pattern + " --seed 7"), sampled) << pattern;
    EXPECT_EQ(recall(std::string("--grid 2x12x13 --pattern ") + pattern), exact) << pattern;
    for (std::size_t i = 0; i < sampled.at("phases").size(); ++i) {
      const Json &one = sampled.at("phases")[i], &other = exact.at("phases")[i];
      for (const char* field : {"recall", "output_error"}) {
        const double se = number(one, (std::string(field) + "_se").c_str());
        EXPECT_GT(se, 0) << pattern;
        EXPECT_NEAR(number(one, field), number(other, field), 5 * se) << pattern << ' ' << field;
      }
      EXPECT_EQ(other.at("recall_se"), 0.0);
    }
  }
}

TEST_F(Recall, ThreadsChangeNothing) {
  for (const char* line :
       {"--grid 2x9x10 --pattern skiparse-2d --ratio 2",
        "--grid 2x12x13 --queries 64 --pattern skiparse-1d --ratio 3 --against "
        "radial:decay=1,block=16",
        "--grid 2x9x10 --pattern skiparse-2d --ratio 2 --synthetic --effective-tokens 30 --heads 2 "
        "--queries 50 --two-layers 1"})
    EXPECT_EQ(recall(std::string(line) + " --threads 1"),
              recall(std::string(line) + " --threads 2"))
        << line;
}

// ---- Masks -------------------------------------------------------------------------------------

const std::vector<std::string> masks{"local:window=3x3x3",
                                     "local:window=2x3x4,stride=1x2x2",
                                     "sliding-tile:tile=1x2x2,window=1x1x3",
                                     "svg-spatial:density=0.1,block=2",
                                     "svg-temporal:density=0.1,block=4",
                                     "radial:decay=0.1,block=2",
                                     "radial:decay=0.1,adjacent=0.1,sink=0,block=4"};

TEST_F(Recall, AndReachAgreeOnEveryMask) {
  for (const auto& mask : masks) {
    const std::string line = "--grid 4x5x7 --pattern " + mask;
    const Json recalled = recall(line + " --bandwidth inf"), reached = json("reach " + line);
    for (const Json& document : {recalled, reached}) {
      EXPECT_EQ(document.at("tokens"), 140) << mask;
      EXPECT_EQ(document.at("pattern"), mask.substr(0, mask.find(':')));
      EXPECT_EQ(document.at("spelled"), mask);
      EXPECT_TRUE(document.at("ratio").is_null());
      EXPECT_EQ(document.at("phase_sparsity"), Json{document.at("sparsity")});
    }
    const double sparsity = number(reached, "sparsity");
    EXPECT_EQ(recalled.at("sparsity"), reached.at("sparsity"));
    EXPECT_GT(sparsity, 1.01) << mask;
    ASSERT_EQ(recalled.at("phases").size(), 1u);
    EXPECT_EQ(recalled.at("phases")[0].at("phase"), "token");
    EXPECT_EQ(recalled.at("phases")[0].at("output_error"), recalled.at("output_error"));
    EXPECT_GT(number(recalled, "output_error"), .001) << mask;
    EXPECT_NEAR(number(recalled.at("phases")[0], "recall"), 1 / sparsity, 1e-9) << mask;
    EXPECT_NEAR(number(reached.at("reach")[0], "fraction_mean"), 1 / sparsity, 1e-12) << mask;
  }
}

TEST_F(Recall, ReachFieldsOfAMask) {
  // Each of 5 tokens in a row sees the 3 around it, 0 and 4 also the third from the border.
  const Json row = json("reach --grid 1x1x5 --pattern local:window=1x1x3 --hops 2");
  EXPECT_EQ(row.at("tokens"), 5);
  EXPECT_DOUBLE_EQ(number(row, "sparsity"), 5. / 3);
  EXPECT_EQ(row.at("phase_flops_per_channel"), (Json{4. * 15}));
  ASSERT_EQ(row.at("reach").size(), 2u);
  EXPECT_EQ(row.at("reach")[0].at("fraction_mean_exact"), "3/5");
  EXPECT_EQ(row.at("reach")[0].at("fraction_min_exact"), "3/5");
  EXPECT_EQ(row.at("neighbour_coverage")[0].at("fraction"), 1.0);
  EXPECT_EQ(row.at("neighbour_coverage")[0].at("radius"), 1);
  EXPECT_FALSE(row.contains("load_balance") || row.contains("resolution_consistency"));

  // Two tiles that never meet: each token is 0 from itself and 1 from its neighbour.
  const Json apart =
      json("reach --grid 1x1x4 --pattern sliding-tile:tile=1x1x2,window=1x1x1 --hops 3");
  EXPECT_TRUE(apart.at("average_distance").is_null());
  EXPECT_EQ(apart.at("unconnected_fraction"), .5);
  EXPECT_EQ(apart.at("average_distance_connected_exact"), "1/2");
  EXPECT_EQ(apart.at("reach")[2].at("fraction_mean"), .5);

  // Rows of their own: of 84 neighbouring pairs, 36 of them diagonal, 24 stand in a row.
  EXPECT_DOUBLE_EQ(
      number(json("reach --grid 1x4x4 --pattern local:window=1x1x4").at("neighbour_coverage")[0],
             "fraction"),
      24. / 84);
  const Json square = json("reach --grid 1x4x4 --pattern local:window=1x4x4");
  EXPECT_EQ(square.at("average_distance"), 15. / 16);
  EXPECT_EQ(square.at("anisotropy"), 1.0);
}

TEST_F(Recall, MasksCanStandAgainstPatterns) {
  const std::string line = "--grid 3x5x7 --pattern ";
  const Json document =
      recall(line + "local:window=3x3x3 --against sliding-tile:tile=1x2x2,window=3x1x3");
  EXPECT_EQ(document.at("against").at("phases"),
            recall(line + "sliding-tile:tile=1x2x2,window=3x1x3").at("phases"));
  EXPECT_EQ(document.at("phases"), recall(line + "local:window=3x3x3").at("phases"));
  EXPECT_TRUE(document.at("crossovers").is_array());
  const Json patterns = recall(line + "skiparse-2d --ratio 2 --against radial:decay=1,block=4");
  EXPECT_EQ(patterns.at("against").at("pattern"), "radial");
}

TEST_F(Recall, RefusesMasksThatDoNotExist) {
  for (const char* mask : {"local",
                           "local:",
                           "local:window",
                           "local:window=1",
                           "local:window=0x1x1",
                           "local:window=1x1x1,",
                           "local:window=1x1x1,window=1x1x1",
                           "local:window=1x1x1,size=2",
                           "local:window=1x1x1,stride=2x2x2",
                           "sliding-tile:tile=1x1x1,window=1x2x1",
                           "svg-spatial:density=0",
                           "svg-spatial:density=1.5",
                           "svg-temporal:density=nan",
                           "svg-temporal",
                           "radial:decay=-1",
                           "radial:decay=1,sink=2",
                           "radial:decay=1,block=0",
                           "radial:decay=1,block=1.5",
                           "round:radius=3",
                           "Local:window=1x1x1",
                           "radial;decay=1"}) {
    refuses(std::string("--grid 3x5x7 --pattern ") + mask, "--pattern");
  }
  for (const char* mask : {"local:window=0x1x1", "svg-temporal", "radial:decay=-1", "round"})
    expect_refusal(std::string("reach --grid 3x5x7 --pattern ") + mask, "--pattern: ");
}

TEST_F(Recall, MasksAreNoPatterns) {
  const std::string mask = " --grid 2x5x7 --phase token --pattern radial:decay=1";
  expect_refusal("layout" + mask, "--pattern: ");
  expect_refusal("attend --backend cpu --input in.h5 --output out.h5" + mask, "--pattern: ");
}

// ---- What it refuses ---------------------------------------------------------------------------

TEST_F(Recall, RefusalsNameTheOption) {
  const std::string pattern = " --pattern skiparse-2d --ratio 2", grid = "--grid 2x5x7",
                    both = grid + pattern;
  refuses(pattern, "--grid");
  refuses(grid, "--pattern");
  refuses(both + " --resolution 480p", "--grid");
  refuses("--grid 2x5" + pattern, "--grid");
  refuses("--grid 99999999x99999999x99999999" + pattern, "--grid");
  refuses("--resolution 721p" + pattern, "--resolution");
  refuses(grid + " --pattern skiparse-9d --ratio 2", "--pattern");
  refuses(grid + " --pattern skiparse-2d", "--ratio");
  refuses(grid + " --pattern skiparse-2d --ratio 0", "--ratio");
  refuses(grid + " --pattern skiparse-2d --ratio 2,2", "--ratio");
  refuses(both + " --against skiparse-1d", "--against-ratio");
  refuses(both + " --against skiparse-1d --against-ratio 0", "--against-ratio");
  for (const char* against : {"skiparse-9d", "radial", "local:window=0x1x1"})
    refuses(both + " --against " + against, "--against");
  for (const char* s : {"0", "-1", "nan", "-inf", "x", "3x", "1e999", "''"})
    refuses(both + " --bandwidth " + s, "--bandwidth");
  for (const char* n : {"1", "-1", "x", "1.5", "99999999999999999999"})
    refuses(both + " --queries " + n, "--queries");
  expect_refusal("recall --bogus", "--bogus");
}

TEST_F(Recall, RefusesMasksOfHugeGrids) {
  for (const char* pattern : {"local:window=1x1x1", "svg-spatial:density=0.1", "radial:decay=1"})
    refuses(std::string("--grid 1x30000x30000 --pattern ") + pattern, "--grid");
  refuses("--grid 1x1x9000 --pattern local:window=1x1x3", "--grid");
  refuses("--grid 1x200x200 --pattern skip+window --ratio 2", "--pattern");
}

TEST_F(Recall, RefusesHugeGrids) {
  for (const char* grid : {"1x1x9000", "9000x1x1", "99999x99999x99"})
    refuses(std::string("--pattern skiparse-2d --ratio 2 --grid ") + grid, "--grid");
}

// ---- On tensors --------------------------------------------------------------------------------

constexpr Extents small{2, 3, 5};
constexpr std::size_t heads = 2, head_dim = 8, tokens = 30;
using Numbers = std::vector<double>;
using Tensors = std::map<std::string, Numbers>;

/// Numbers that bfloat16 has.
Tensors random_tensors() {
  Tensors tensors;
  for (const char* name : {"q", "k", "v"}) {
    tensors[name] = normal(heads * tokens * head_dim, static_cast<std::uint64_t>(name[0]));
    for (double& value : tensors[name])
      value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(static_cast<float>(value)) &
                                   0xffff0000);
  }
  return tensors;
}

std::string little(std::uint64_t number, int size) {
  std::string bytes;
  for (int i = 0; i < size; ++i) bytes += static_cast<char>(number >> 8 * i);
  return bytes;
}

class RecallOfTensors : public Recall {
 protected:
  const std::string grid = "--grid 2x3x5 --queries 0 --pattern ";

  using Shape = std::vector<std::int64_t>;
  static Shape whole() { return {heads, tokens, head_dim}; }

  template <class T>
  void write_hdf5(const std::string& name, const Tensors& tensors) const {
    Hdf5File file = Hdf5File::create(folder.file(name), name);
    for (const auto& [dataset, values] : tensors)
      file.write<T>(dataset, whole(), converted<T>(values));
    file.close();
  }
  void write_safetensors(const std::string& name, const Tensors& tensors, int bytes = 4,
                         const std::map<std::string, Shape>& shapes = {}) const {
    Json header = Json::object();
    std::string data;
    for (const auto& [tensor, values] : tensors) {
      const std::size_t begin = data.size();
      for (const double value : values)
        data += little(std::bit_cast<std::uint32_t>(static_cast<float>(value)) >> 8 * (4 - bytes),
                       bytes);
      header[tensor] = {{"dtype", bytes == 2 ? "BF16" : "F32"},
                        {"shape", shapes.contains(tensor) ? shapes.at(tensor) : whole()},
                        {"data_offsets", {begin, data.size()}}};
    }
    const std::string text = header.dump();
    std::ofstream(folder.file(name), std::ios::binary) << little(text.size(), 8) << text << data;
  }
  void refuses_file(const std::string& name, const std::string& part) const {
    const Program program = start("recall " + grid + "full --input " + name);
    expect_refusal(program, 2, part);
    EXPECT_NE(program.err().find("--input: " + name), std::string::npos) << program.err();
  }
};

/// One head's attention of every token, in double.
struct Attention {
  std::vector<Numbers> weights;  ///< of full attention
  Tensors in;

  Attention(const Tensors& tensors, std::size_t head) {
    for (const auto& [name, values] : tensors) {
      const auto first = values.begin() + static_cast<std::ptrdiff_t>(head * tokens * head_dim);
      in[name] = Numbers(first, first + tokens * head_dim);
    }
    for (std::size_t q = 0; q < tokens; ++q) {
      Numbers row;
      double sum = 0;
      for (std::size_t k = 0; k < tokens; ++k) {
        double logit = 0;
        for (std::size_t d = 0; d < head_dim; ++d)
          logit += in["q"][q * head_dim + d] * in["k"][k * head_dim + d];
        row.push_back(std::exp(logit / std::sqrt(double{head_dim})));
        sum += row.back();
      }
      for (double& weight : row) weight /= sum;
      weights.push_back(row);
    }
  }

  double share(std::size_t q, const Rule& attends) const {
    double sum = 0;
    for (std::size_t k = 0; k < tokens; ++k)
      if (attends(token(small, q), token(small, k))) sum += weights[q][k];
    return sum;
  }
  Numbers output(const Rule& attends, const Numbers& v) const {
    Numbers o(tokens * head_dim);
    for (std::size_t q = 0; q < tokens; ++q)
      for (std::size_t k = 0; k < tokens; ++k)
        if (attends(token(small, q), token(small, k)))
          for (std::size_t d = 0; d < head_dim; ++d)
            o[q * head_dim + d] += weights[q][k] / share(q, attends) * v[k * head_dim + d];
    return o;
  }
  Numbers two_layers(const Rule& first, const Rule& second) const {
    Numbers h1 = output(first, in.at("v"));
    for (std::size_t i = 0; i < h1.size(); ++i) h1[i] += in.at("v")[i];
    Numbers h2 = output(second, h1);
    for (std::size_t i = 0; i < h2.size(); ++i) h2[i] += h1[i];
    return h2;
  }
  double effective_tokens() const {
    double sum = 0;
    for (const Numbers& row : weights) {
      double entropy = 0;
      for (const double p : row) entropy -= p * std::log(p);
      sum += std::exp(entropy);
    }
    return sum / tokens;
  }
};

double squared_distance(const Numbers& a, const Numbers& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

struct TensorCase {
  std::string options;
  std::vector<Rule> phases;
};
const std::vector<TensorCase> tensor_cases{
    {"skiparse-2d --ratio 2", skiparse_3d(1, 2, 2)},
    {"skiparse-1d --ratio 2", skiparse_1d(2, &Token::s)},
    {"skiparse-1d --ratio 2 --whole-video", skiparse_1d(2, &Token::i)},
    {"window --tiles 1,1,2", {tiles(small, 1, 1, 2)}},
    {"local:window=1x3x3", {local(small, 1, 3, 3)}},
    {"sliding-tile:tile=1x2x2,window=2x1x1", {sliding_tile(small, 1, 1)}}};

TEST_F(RecallOfTensors, IsWhatSoftmaxAttentionGives) {
  const Tensors tensors = random_tensors();
  write_hdf5<float>("in.h5", tensors);
  const std::vector<Attention> attention{{tensors, 0}, {tensors, 1}};
  const Numbers zero(tokens * head_dim);
  for (const auto& [options, phases] : tensor_cases) {
    const Json document = recall(grid + options + " --input in.h5");
    EXPECT_EQ(document.at("how"), "measured-cpu");
    EXPECT_EQ(document.at("heads"), heads);
    EXPECT_EQ(document.at("queries"), tokens);
    EXPECT_FALSE(document.contains("two_layers") || document.contains("table"));
    std::vector<PhaseNumbers> expected;
    for (std::size_t p = 0; p < phases.size(); ++p) {
      PhaseNumbers phase;
      double error_2 = 0, norm_2 = 0;
      for (std::size_t h = 0; h < heads; ++h) {
        const Numbers full = attention[h].output(all(), attention[h].in.at("v"));
        const double error =
            squared_distance(attention[h].output(phases[p], attention[h].in.at("v")), full);
        const double norm = squared_distance(full, zero);
        double kept = 0;
        for (std::size_t q = 0; q < tokens; ++q) kept += attention[h].share(q, phases[p]);
        const Json& found = document.at("phases").at(p);
        EXPECT_NEAR(found.at("head_recall").at(h).get<double>(), kept / tokens, 1e-6) << options;
        EXPECT_NEAR(found.at("head_output_error").at(h).get<double>(), std::sqrt(error / norm),
                    1e-5)
            << options;
        phase.recall += kept / (heads * tokens);
        error_2 += error;
        norm_2 += norm;
      }
      phase.output_error = std::sqrt(error_2 / norm_2);
      expected.push_back(phase);
    }
    expect_phases(document, expected, 1e-5, options);
    double effective = 0;
    for (std::size_t h = 0; h < heads; ++h) {
      const double of_head = attention[h].effective_tokens();
      EXPECT_NEAR(document.at("head_effective_tokens").at(h).get<double>(), of_head, 1e-4);
      effective += of_head / heads;
    }
    EXPECT_NEAR(number(document, "effective_tokens"), effective, 1e-4);
    EXPECT_EQ(document.at("effective_tokens_se"), 0.0);
  }
}

TEST_F(RecallOfTensors, GoThroughTwoLayers) {
  const Tensors tensors = random_tensors();
  write_hdf5<float>("in.h5", tensors);
  const Numbers zero(tokens * head_dim);
  for (const std::size_t layered : {1u, 2u})
    for (const auto& [options, phases] : tensor_cases) {
      double error_2 = 0, update_2 = 0, output_2 = 0;
      for (std::size_t h = 0; h < layered; ++h) {
        const Attention attention(tensors, h);
        const Numbers full = attention.two_layers(all(), all());
        error_2 += squared_distance(attention.two_layers(phases.front(), phases.back()), full);
        update_2 += squared_distance(full, attention.in.at("v"));
        output_2 += squared_distance(full, zero);
      }
      const Json two =
          recall(fmt::format("{}{} --input in.h5 --two-layers {}", grid, options, layered))
              .at("two_layers");
      EXPECT_NEAR(number(two, "of_update"), std::sqrt(error_2 / update_2), 1e-5) << options;
      EXPECT_NEAR(number(two, "of_output"), std::sqrt(error_2 / output_2), 1e-5) << options;
      EXPECT_EQ(two.at("heads"), layered);
      EXPECT_EQ(two.at("of_update_se"), 0.0);
    }
}

TEST_F(RecallOfTensors, AreTheSameFromEveryKindOfFile) {
  const Tensors tensors = random_tensors();
  write_hdf5<float>("f32.h5", tensors);
  write_hdf5<double>("f64.h5", tensors);
  write_safetensors("f32.safetensors", tensors);
  write_safetensors("bf16.safetensors", tensors, 2);
  const std::string line = grid + "skiparse-2d --ratio 2 --two-layers 1 --input ";
  const Json document = recall(line + "f32.h5");
  for (const char* file : {"f64.h5", "f32.safetensors", "bf16.safetensors"})
    EXPECT_EQ(recall(line + file), document) << file;
}

TEST_F(RecallOfTensors, FullAttentionLosesNothing) {
  write_safetensors("in.safetensors", random_tensors());
  for (const char* pattern : {"full", "skiparse-2d --ratio 1", "window --tiles 1"}) {
    const Json document = recall(grid + pattern + " --two-layers 2 --input in.safetensors");
    EXPECT_EQ(document.at("output_error"), 0.0);
    EXPECT_EQ(document.at("two_layers").at("of_update"), 0.0);
    for (const Json& phase : document.at("phases")) EXPECT_EQ(phase.at("recall"), 1.0);
  }
}

TEST_F(RecallOfTensors, StandAgainstEachOther) {
  write_safetensors("in.safetensors", random_tensors());
  const std::string input = " --two-layers 1 --input in.safetensors";
  const Json both = recall(grid + "skiparse-2d --ratio 2 --against local:window=1x3x3" + input);
  EXPECT_FALSE(both.contains("crossovers"));
  const Json one = recall(grid + "skiparse-2d --ratio 2" + input),
             other = recall(grid + "local:window=1x3x3" + input);
  for (const char* field : {"output_error", "phases", "two_layers", "sparsity"}) {
    EXPECT_EQ(both.at(field), one.at(field)) << field;
    EXPECT_EQ(both.at("against").at(field), other.at(field)) << field;
  }
}

TEST_F(RecallOfTensors, SampleQueries) {
  write_safetensors("in.safetensors", random_tensors());
  const std::string line =
      "--grid 2x3x5 --pattern skiparse-2d --ratio 2 --input in.safetensors --queries ";
  const Json sampled = recall(line + "10");
  EXPECT_EQ(sampled.at("queries"), 10);
  EXPECT_NE(recall(line + "10 --seed 5"), sampled);
  const Json exact = recall(line + "0");
  EXPECT_EQ(recall(line + "30 --seed 5"), exact);
  EXPECT_EQ(recall(line + "1000"), exact);
  const double se = number(sampled, "output_error_se");
  EXPECT_GT(se, 0);
  EXPECT_NEAR(number(sampled, "output_error"), number(exact, "output_error"), 6 * se);
}

TEST_F(RecallOfTensors, RefusesFilesThatDoNotFit) {
  const Tensors good = random_tensors();
  write_safetensors("good.safetensors", good);
  write_hdf5<float>("good.h5", good);
  refuses_file("nobody.h5", "nobody.h5");
  refuses_file(".", "");

  for (const char* name : {"q", "k", "v"}) {
    Tensors bad = good;
    bad.erase(name);
    write_safetensors("missing.safetensors", bad);
    write_hdf5<float>("missing.h5", bad);
    for (const char* file : {"missing.safetensors", "missing.h5"})
      refuses_file(file, fmt::format("'{}'", name));
    using Shapes = std::map<std::string, std::vector<std::int64_t>>;
    for (const Shapes& shapes :
         {Shapes{{name, {heads * tokens, head_dim}}}, Shapes{{name, {heads * tokens * head_dim}}},
          Shapes{{name, {heads, tokens / 2, head_dim * 2}}},
          Shapes{{name, {1, heads, tokens, head_dim}}}}) {
      write_safetensors("shape.safetensors", good, 4, shapes);
      refuses_file("shape.safetensors", fmt::format("'{}'", name));
    }
  }
  write_safetensors("differ.safetensors", good, 4, {{"k", {1, tokens, heads * head_dim}}});
  refuses_file("differ.safetensors", "'k' is [1, 30, 16], but q is [2, 30, 8]");

  const std::string input = " --pattern full --input good.safetensors";
  refuses("--grid 2x3x6" + input, "--input");
  refuses("--grid 2x3x5 --two-layers 3" + input, "--two-layers");
  refuses("--grid 2x3x5 --two-layers -1" + input, "--two-layers");
  refuses("--grid 2x3x5 --synthetic" + input, "--synthetic");
  for (const char* file : {"good.safetensors", "good.h5"})
    for (const std::uintmax_t size : {2000u, 300u, 7u, 0u}) {
      std::filesystem::copy_file(folder.file(file), folder.file(std::string("cut-") + file),
                                 std::filesystem::copy_options::overwrite_existing);
      std::filesystem::resize_file(folder.file(std::string("cut-") + file), size);
      refuses_file(std::string("cut-") + file, "");
    }
}

TEST_F(RecallOfTensors, RefusesNumbersThatAreNotFinite) {
  for (const char* name : {"q", "k", "v"})
    for (const double number : {std::nan(""), double{INFINITY}, -double{INFINITY}}) {
      Tensors bad = random_tensors();
      bad[name].back() = number;
      write_safetensors("bad.safetensors", bad);
      expect_refusal("recall " + grid + "full --input bad.safetensors", name);
    }
}

TEST_F(RecallOfTensors, RefusalOfNumbersNamesTheOption) {
  Tensors bad = random_tensors();
  bad["k"].back() = std::nan("");
  write_safetensors("bad.safetensors", bad);
  refuses_file("bad.safetensors", "'k'");
}

TEST_F(RecallOfTensors, RefusesNumbersTooLargeForAttention) {
  Tensors bad = random_tensors();
  for (double& value : bad["q"]) value = 1e30;
  bad["k"] = bad["q"];
  write_safetensors("large.safetensors", bad);
  refuses_file("large.safetensors", "");
}

TEST_F(RecallOfTensors, RefusesNumbersOfWhichFloatsGiveNoEntropy) {
  Tensors bad = random_tensors();
  for (const char* name : {"q", "k"})
    for (double& value : bad[name]) value *= 4e4;
  write_safetensors("sharp.safetensors", bad);
  refuses_file("sharp.safetensors", "");
}

TEST_F(RecallOfTensors, AreNotJudgedByOneQuery) {
  write_safetensors("in.safetensors", random_tensors());
  refuses("--grid 2x3x5 --pattern full --queries 1 --input in.safetensors", "--queries");
  refuses("--grid 2x3x5 --pattern full --queries 1 --synthetic --effective-tokens 10", "--queries");
}

// ---- On made-up tensors ------------------------------------------------------------------------

const std::string made_up = "--grid 3x8x10 --pattern skiparse-2d --ratio 2 --synthetic --heads 1 ";

TEST_F(Recall, MadeUpTensorsDependOnTheSeed) {
  const Json document = recall(made_up + "--effective-tokens 60 --queries 0");
  EXPECT_EQ(document.at("heads"), 1);
  EXPECT_EQ(document.at("how"), "measured-cpu");
  EXPECT_EQ(recall(made_up + "--effective-tokens 60 --queries 0 --seed 0"), document);
  EXPECT_NE(recall(made_up + "--effective-tokens 60 --queries 0 --seed 1"), document);
}

TEST_F(Recall, MadeUpQueriesAttendToSoManyTokens) {
  for (const double wanted : {5., 60., 150.})
    for (const int seed : {0, 1})
      EXPECT_NEAR(
          number(recall(fmt::format("{}--effective-tokens {} --seed {}", made_up, wanted, seed)),
                 "effective_tokens"),
          wanted, .25 * wanted);
}

TEST_F(Recall, MadeUpContentObeysItsOptions) {
  const std::string line = made_up + "--effective-tokens 60 --queries 100";
  const Json document = recall(line);
  EXPECT_EQ(recall(line + " --lengths 4,4,4 --noise 0.5 --objects 8"), document);
  EXPECT_EQ(recall(line + " --lengths 4"), document);
  std::set<double> errors{number(document, "output_error")};
  for (const char* option :
       {" --lengths 0", " --lengths 1,4,4", " --lengths 4,1,4", " --lengths 4,4,1", " --noise 0",
        " --noise 1", " --objects 0", " --objects 3"})
    EXPECT_TRUE(errors.insert(number(recall(line + option), "output_error")).second) << option;
}

TEST_F(Recall, RefusesContentThatCannotBeMade) {
  const std::string line = "--grid 2x5x7 --pattern full --synthetic --effective-tokens 20 ";
  for (const char* lengths :
       {"x", "1,2", "1,2,3,4", ",", "1,,2", "-1", "1,-1,1", "nan", "inf", "1e9", "''"})
    refuses(line + "--lengths " + lengths, "--lengths");
  for (const char* noise : {"2", "-0.1", "nan", "x", "1.0001"})
    refuses(line + "--noise " + noise, "--noise");
  for (const char* n : {"0", "-1", "x", "1.5", "99999999"})
    refuses(line + "--heads " + n, "--heads");
  for (const char* n : {"-1", "x", "99999999"}) refuses(line + "--objects " + n, "--objects");
  for (const char* n : {"5", "-1", "x"}) refuses(line + "--two-layers " + n, "--two-layers");
  for (const char* n : {"0", "-1", "70", "71", "nan", "inf", "x", "1e-3"})
    refuses(std::string("--grid 2x5x7 --pattern full --synthetic --effective-tokens ") + n,
            "--effective-tokens");
}

// ---- Text, files, experiments ------------------------------------------------------------------

TEST_F(RecallOfTensors, TextHoldsTheNumbers) {
  write_safetensors("in.safetensors", random_tensors());
  const std::string patterns = "--grid 2x3x5 --pattern skiparse-2d --ratio 2";
  const std::string against = " --against local:window=1x3x3";
  for (const std::string& line :
       {patterns, patterns + against, patterns + " --bandwidth inf",
        std::string("--grid 1x1x1 --pattern full"),
        patterns + " --against skiparse-1d --against-ratio 4",
        std::string("--grid 2x12x13 --queries 64 --pattern radial:decay=1,block=16"),
        patterns + " --input in.safetensors", patterns + against + " --input in.safetensors",
        patterns + " --queries 12 --two-layers 2 --input in.safetensors",
        patterns + against + " --synthetic --effective-tokens 9 --two-layers 1"}) {
    const Json document = recall(line + " --save r.h5");
    const std::string text = text_of("recall " + line);
    const auto holds = [&](const Json& value) {
      EXPECT_NE(text.find(fmt::format("{:.5f}", value.get<double>())), std::string::npos)
          << value << " in\n"
          << text;
    };
    std::vector<Json> shown{document};
    if (document.contains("against")) shown.push_back(document.at("against"));
    for (const Json& of : shown) {
      EXPECT_NE(text.find(of.at("spelled").get<std::string>()), std::string::npos) << text;
      holds(of.at("output_error"));
      for (const Json& phase : of.at("phases"))
        for (const char* field : {"recall", "output_error"}) {
          holds(phase.at(field));
          if (phase.at("recall_se") != 0.0) {
            holds(phase.at(std::string(field) + "_se"));
          }
        }
      if (of.contains("two_layers")) {
        holds(of.at("two_layers").at("of_update"));
        holds(of.at("two_layers").at("of_output"));
      }
      if (of.contains("table"))
        for (const Json& row : of.at("table")) holds(row.at("output_error"));
    }
    for (const Json& bandwidth : document.value("crossovers", Json::array()))
      EXPECT_NE(text.find(fmt::format("{:.3f}", bandwidth.get<double>())), std::string::npos);
    EXPECT_EQ(load_result(folder.file("r.h5")).at("document"), document) << line;
    EXPECT_EQ(text_of("show r.h5").rfind(text, 0), 0u) << line;
    std::filesystem::remove(folder.file("r.h5"));
  }
}

TEST_F(Recall, ReachTextOfAMask) {
  const std::string line = "reach --grid 3x5x7 --pattern svg-temporal:density=0.1,block=2";
  const std::string text = text_of(line);
  for (const char* part :
       {"svg-temporal:density=0.1,block=2", "average distance", "anisotropy", "neighbours within"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
  EXPECT_EQ(text.find("columns added"), std::string::npos) << text;
  json(line + " --save r.h5");
  EXPECT_EQ(text_of("show r.h5").rfind(text, 0), 0u);
}

TEST_F(Recall, ExperimentsAreListed) {
  std::set<std::string> names;
  const Json listed = json("list experiments");
  for (const Json& experiment : listed.at("experiments")) names.insert(experiment.at("name"));
  const Program unknown = start("run nothing");
  EXPECT_EQ(unknown.wait(), 2);
  for (const char* name : {"pattern-error", "pattern-error-tensors"}) {
    EXPECT_TRUE(names.contains(name)) << name;
    EXPECT_NE(unknown.err().find(std::string(name) + ","), std::string::npos) << unknown.err();
  }
}

}  // namespace
}  // namespace ospsim
