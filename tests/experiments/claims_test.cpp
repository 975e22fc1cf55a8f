#include "experiments/claims/claims.hpp"

#include <gtest/gtest.h>

#include <set>

#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

const Json computed_claim{
    {"id", "a.b"},
    {"source", "s"},
    {"statement", "t"},
    {"kind", "claim"},
    {"published", 80640},
    {"unit", "tokens"},
    {"how", "exact"},
    {"tolerance", {{"absolute", 0}}},
    {"method",
     {{"name", "padded_tokens"}, {"grid", "21x45x80"}, {"pattern", "skiparse-2d"}, {"ratio", "2"}}},
    {"expected", "reproduced"}};
const Json reported_claim{{"id", "a.c"},
                          {"source", "s"},
                          {"statement", "t"},
                          {"kind", "claim"},
                          {"published", 1.5},
                          {"unit", "s"},
                          {"how", "reported-only"},
                          {"expected", "not-reproducible-here"},
                          {"reason", "r"}};

std::string document(const std::vector<Json>& claims) {
  return Json{{"claims", claims}}.dump();
}

const Json& no_times() {
  throw UnavailableError("no result of record");
}

std::string rejection(const std::string& text) {
  try {
    parse_claims(text);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

std::string rejection_with(const char* field, const Json& value,
                           const Json& base = computed_claim) {
  Json claim = base;
  claim[field] = value;
  return rejection(document({claim}));
}

std::string rejection_without(const char* field, const Json& base = computed_claim) {
  Json claim = base;
  claim.erase(field);
  return rejection(document({claim}));
}

TEST(Claims, OfTheProjectAreSound) {
  const auto claims = load_claims(default_claims_path());
  EXPECT_GT(claims.size(), 100u);
  for (const auto& claim : claims) EXPECT_EQ(claim.topic().find('.'), std::string::npos);
}

TEST(Claims, AreReadWithEveryField) {
  const auto claims = parse_claims(document({computed_claim, reported_claim}));
  ASSERT_EQ(claims.size(), 2u);
  EXPECT_EQ(claims[0].id, "a.b");
  EXPECT_EQ(claims[0].published, Value(80640.0));
  EXPECT_EQ(claims[0].absolute_tolerance, 0.0);
  EXPECT_EQ(claims[0].topic(), "a");
  EXPECT_FALSE(claims[1].method);
}

TEST(Claims, RejectionsNameTheClaim) {
  EXPECT_NE(rejection("{"), "");
  EXPECT_NE(rejection("[]"), "");
  EXPECT_NE(rejection(R"({"claims": 3})"), "");
  EXPECT_NE(rejection(R"({"claims": [3]})").find("number 1"), std::string::npos);
  EXPECT_NE(rejection(document({computed_claim, computed_claim})).find("'a.b': stands twice"),
            std::string::npos);
  EXPECT_NE(rejection_without("id").find("number 1"), std::string::npos);
  for (const char* field :
       {"source", "statement", "kind", "published", "unit", "how", "tolerance", "expected"})
    EXPECT_NE(rejection_without(field).find("'a.b'"), std::string::npos) << field;
  const std::vector<std::pair<const char*, Json>> bad{
      {"kind", "rumour"},
      {"how", "guessed"},
      {"published", "many"},
      {"published", nullptr},
      {"tolerance", 3},
      {"tolerance", {{"absolute", -1}}},
      {"tolerance", {{"absolute", 1}, {"relative", 1}}},
      {"neutral", "one"},
      {"comparison", "about"},
      {"expected", "true"},
      {"expected", "not-implemented-yet"},
      {"expected", "contradicted"},  // without a reason
      {"surprise", 1},
      {"method", 1},
      {"method", {{"name", "divination"}}},
      {"method", {{"name", "padded_tokens"}}},
      {"method", {{"name", "padded_tokens"}, {"grid", "21x"}, {"pattern", "full"}, {"ratio", "1"}}},
      {"method",
       {{"name", "padded_tokens"}, {"grid", "1x1x1"}, {"pattern", "fill"}, {"ratio", "1"}}},
      {"method", {{"name", "padded_tokens"}, {"grid", "1x1x1"}, {"pattern", "full"}, {"ratio", 1}}},
      {"method",
       {{"name", "padded_tokens"},
        {"grid", "1x1x1"},
        {"pattern", "full"},
        {"ratio", "1"},
        {"x", 1}}},
      {"method", {{"name", "table_ratio"}, {"numerator", "a.b"}, {"denominator", "nobody"}}},
      {"method", {{"name", "smallest_table_ratio"}, {"ids", {"a.b"}}}},
      {"method", {{"name", "smallest_table_ratio"}, {"ids", Json::array()}}},
      {"method", {{"name", "table_efficiency"}, {"one", "a.b"}, {"many", "a.b"}, {"devices", 0}}}};
  for (const auto& [field, value] : bad) {
    const std::string message = rejection_with(field, value);
    EXPECT_NE(message.find("'a.b'"), std::string::npos) << field << ' ' << value << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
  EXPECT_NE(rejection_with("expected", "reproduced", reported_claim), "");
  EXPECT_NE(rejection_without("reason", reported_claim), "");
}

// ---- The status rule ---------------------------------------------------------------------------

struct StatusCase {
  Value published, ours;
  std::optional<double> absolute, relative, neutral;
  Comparison comparison;
  const char* status;
};

TEST(Claims, StatusRule) {
  constexpr auto equal = Comparison::equal, at_least = Comparison::at_least,
                 at_most = Comparison::at_most;
  constexpr auto none = std::nullopt;
  const std::vector<StatusCase> table{{4.0, 4.0, 0, none, none, equal, "reproduced"},
                                      {4.0, 4.25, .25, none, none, equal, "reproduced"},
                                      {4.0, 3.5, none, .125, none, equal, "reproduced"},
                                      {4.0, 4.5, .25, none, none, equal, "outside-tolerance"},
                                      {4.0, 1.5, none, .1, 1, equal, "outside-tolerance"},
                                      {4.0, 0.9, none, .1, 1, equal, "contradicted"},
                                      {4.0, 1.0, none, .1, 1, equal, "contradicted"},
                                      {-2.0, 3.0, .5, none, 0, equal, "contradicted"},
                                      {1.5, 1.6, .05, none, 1, at_least, "reproduced"},
                                      {1.5, 1.46, .05, none, 1, at_least, "reproduced"},
                                      {1.5, 1.4, .05, none, 1, at_least, "contradicted"},
                                      {1.5, 1.4, .05, none, 1, at_most, "reproduced"},
                                      {1.5, 1.6, .05, none, 1, at_most, "contradicted"},
                                      {true, true, none, none, none, equal, "reproduced"},
                                      {true, false, none, none, none, equal, "contradicted"}};
  for (const auto& c : table) {
    Claim claim;
    claim.published = c.published;
    claim.absolute_tolerance = c.absolute;
    claim.relative_tolerance = c.relative;
    claim.neutral = c.neutral;
    claim.comparison = c.comparison;
    EXPECT_EQ(status_of(claim, c.ours), c.status) << &c - table.data();
  }
}

TEST(Claims, WithoutAMethodKeepTheirExpectation) {
  const auto claims = parse_claims(document({computed_claim, reported_claim}));
  const auto verdicts = judge(claims, {"a.c"}, no_times);
  ASSERT_EQ(verdicts.size(), 1u);
  EXPECT_EQ(verdicts[0].status, "not-reproducible-here");
  EXPECT_EQ(verdicts[0].reason, "r");
  EXPECT_FALSE(verdicts[0].ours);
  EXPECT_THROW(judge(claims, {"a.d"}, no_times), InputError);
  EXPECT_EQ(judge(claims, {}, no_times).size(), 2u);
}

// ---- Every method on numbers known by hand -----------------------------------------------------

/// The value of a method, with cells t.one .. of the published numbers given beside it.
Value value_of(const Json& method, const std::vector<std::pair<std::string, double>>& cells = {},
               const std::function<const Json&()>& times = no_times) {
  Json claim = computed_claim;
  claim["method"] = method;
  std::vector<Json> claims{claim};
  for (const auto& [id, published] : cells) {
    Json cell = reported_claim;
    cell["id"] = id;
    cell["published"] = published;
    claims.push_back(cell);
  }
  const auto parsed = parse_claims(document(claims));
  return judge(parsed, {"a.b"}, times).front().ours.value();
}

double number_of(const Json& method) {
  return std::get<double>(value_of(method));
}

Json on(const char* name, const char* grid, const char* pattern, const char* ratio,
        Json more = Json::object()) {
  Json method{{"name", name}, {"grid", grid}, {"pattern", pattern}, {"ratio", ratio}};
  method.update(more);
  return method;
}

TEST(Methods, Interaction) {
  EXPECT_DOUBLE_EQ(number_of(on("average_distance", "1x1x4", "full", "1")), .75);
  // 1x4x4, ratio 2: from each token 3 + 3 others in one operation, the other 9 in two.
  EXPECT_DOUBLE_EQ(number_of(on("average_distance", "1x4x4", "skiparse-2d", "2")), 1.5);
  EXPECT_DOUBLE_EQ(number_of(on("reach_fraction", "1x4x4", "skiparse-2d", "2", {{"hops", 1}})),
                   .25);
  EXPECT_DOUBLE_EQ(number_of(on("reach_fraction", "1x4x4", "skiparse-2d", "2", {{"hops", 2}})), 1);
  // Tiles {0,1} and {2,3}: of the three neighbouring pairs, two meet.
  EXPECT_DOUBLE_EQ(number_of(on("neighbour_coverage", "1x1x4", "window", "1,1,2", {{"radius", 1}})),
                   2. / 3);
}

TEST(Methods, Lengths) {
  const auto tiles = [](const char* name, Json more = Json::object()) {
    return on(name, "1x1x3", "window", "1,1,2", more);  // tiles of 2 and 1 tokens
  };
  EXPECT_EQ(number_of(tiles("padded_tokens")), 4);
  EXPECT_DOUBLE_EQ(number_of(tiles("padding_overhead_percent")), 100. / 3);
  EXPECT_EQ(number_of(tiles("subsequence_length_ratio")), 2);
  EXPECT_EQ(number_of(tiles("valid_tokens_largest", {{"phase", "token"}})), 2);
  EXPECT_EQ(number_of(tiles("valid_tokens_smallest", {{"phase", "group"}})), 1);
  EXPECT_DOUBLE_EQ(number_of(tiles("attention_work_ratio")), 9. / 5);
  EXPECT_DOUBLE_EQ(number_of(tiles("load_imbalance_percent")), 60);  // 4 over the mean of 4 and 1
  EXPECT_EQ(value_of(tiles("load_balanced")), Value(false));
  EXPECT_EQ(value_of(on("load_balanced", "1x1x4", "window", "1,1,2")), Value(true));
}

TEST(Methods, Structure) {
  EXPECT_EQ(number_of(on("subsequences", "1x4x4", "skiparse-2d", "2")), 4);
  EXPECT_EQ(value_of(on("needs_no_mask", "3x8x4", "skiparse-2d", "2")), Value(true));
  EXPECT_EQ(value_of(on("needs_no_mask", "3x8x5", "skiparse-2d", "2")), Value(false));
  EXPECT_EQ(value_of(on("switch_is_involution", "2x5x4", "skiparse-2d", "2")), Value(true));
  // Rows of 2 columns: the one way sends place 1 to 3, the other to 2.
  EXPECT_EQ(value_of(on("switch_is_involution", "1x3x2", "y|x", "1")), Value(false));
  EXPECT_EQ(value_of(on("depends_on_width", "1x2x4", "skiparse-2d", "2", {{"added_width", 1}})),
            Value(false));
  EXPECT_EQ(value_of(on("depends_on_width", "1x2x4", "skiparse-1d", "2", {{"added_width", 1}})),
            Value(true));
  // Tiles {0,1} and {2,3} of each of two rows: of 3 pairs to the right 2 meet, of 4 down all.
  const auto offset = [](const char* at) {
    return number_of(on("offset_coverage", "1x2x4", "window", "1,1,2", {{"offset", at}}));
  };
  EXPECT_DOUBLE_EQ(offset("0,1"), 2. / 3);
  EXPECT_DOUBLE_EQ(offset("1,0"), 1);
  EXPECT_DOUBLE_EQ(offset("1,1"), 2. / 3);
}

TEST(Methods, LocalEquivalence) {
  EXPECT_EQ(value_of(on("local_equivalence", "2x5x7", "skiparse-2d", "2")), Value(true));
  EXPECT_EQ(value_of(on("local_equivalence", "1x18x9", "skiparse-2d", "3")), Value(true));
  EXPECT_EQ(value_of(on("local_equivalence", "1x16x32", "skiparse-1d", "4")), Value(true));
  EXPECT_EQ(value_of(on("local_equivalence", "1x16x17", "skiparse-1d", "4")), Value(false));
}

TEST(Methods, Flops) {
  // One token, one block: attention 4d; q, k, v, o 8d^2; FFN 4df; cross-attention 4d^2 + 4Ld^2 +
  // 4Ld.
  constexpr double d = 5120, f = 13824, text = 512, attention = 4 * d;
  constexpr double block =
      attention + 8 * d * d + 4 * d * f + 4 * d * d + 4 * text * d * d + 4 * text * d;
  EXPECT_DOUBLE_EQ(number_of({{"name", "forward_flops"},
                              {"model", "wan2.1-14b"},
                              {"grid", "1x1x1"},
                              {"counting", "valid"}}),
                   40 * block);
  EXPECT_DOUBLE_EQ(
      number_of(
          {{"name", "self_attention_share_percent"}, {"model", "wan2.1-14b"}, {"grid", "1x1x1"}}),
      100 * attention / block);
  EXPECT_DOUBLE_EQ(number_of({{"name", "self_attention_flops_ratio"}, {"grid", "21x48x80"}}), 2.5);
  const double wan = number_of({{"name", "forward_flops"},
                                {"model", "wan2.1-14b"},
                                {"grid", "2x5x7"},
                                {"counting", "padded"}});
  const double osp = number_of({{"name", "forward_flops"},
                                {"model", "osp-next-14b"},
                                {"grid", "2x5x7"},
                                {"counting", "padded"}});
  EXPECT_DOUBLE_EQ(
      number_of({{"name", "forward_flops_ratio"}, {"grid", "2x5x7"}, {"counting", "padded"}}),
      wan / osp);
}

TEST(Methods, BlocksAndRates) {
  constexpr double d = 5120, f = 13824, text = 512, attention = 4 * d;
  constexpr double full =
      attention + 8 * d * d + 4 * d * f + 4 * d * d + 4 * text * d * d + 4 * text * d;
  const auto block = [](const char* name, const char* kind, Json more) {
    Json method{{"name", name}, {"model", "osp-next-14b"}, {"grid", "1x1x1"}, {"block", kind}};
    method.update(more);
    return number_of(method);
  };
  EXPECT_DOUBLE_EQ(block("block_flops", "full", {{"counting", "valid"}}), full);
  EXPECT_DOUBLE_EQ(block("block_self_attention_flops", "token", Json::object()), attention);
  // One token padded to 4 x 4, four sub-sequences of four, text keys and values four times.
  EXPECT_DOUBLE_EQ(block("block_flops", "group", {{"counting", "padded"}}),
                   16 * (4 * attention + 8 * d * d + 4 * d * f + 4 * d * d + 4 * text * d) +
                       4 * 4 * text * d * d);
  EXPECT_DOUBLE_EQ(std::get<double>(value_of({{"name", "implied_rate_tflops"},
                                              {"model", "wan2.1-14b"},
                                              {"grid", "1x1x1"},
                                              {"counting", "valid"},
                                              {"seconds", "t.one"}},
                                             {{"t.one", 12}})),
                   1e-12 * 100 * 40 * full / 12);
  const double operations =
      number_of({{"name", "forward_flops_ratio"}, {"grid", "21x48x80"}, {"counting", "valid"}});
  EXPECT_NEAR(std::get<double>(value_of({{"name", "speedup_shortfall_percent"},
                                         {"grid", "21x48x80"},
                                         {"numerator", "t.one"},
                                         {"denominator", "t.two"}},
                                        {{"t.one", 12}, {"t.two", 8}})),
              100 * (1 - 1.5 / operations), 1e-12);
}

TEST(Methods, Tables) {
  const std::vector<std::pair<std::string, double>> cells{{"t.one", 12}, {"t.two", 4}};
  EXPECT_EQ(
      value_of({{"name", "table_ratio"}, {"numerator", "t.one"}, {"denominator", "t.two"}}, cells),
      Value(3.));
  EXPECT_EQ(value_of({{"name", "table_difference"}, {"minuend", "t.one"}, {"subtrahend", "t.two"}},
                     cells),
            Value(8.));
  EXPECT_EQ(
      value_of({{"name", "table_efficiency"}, {"one", "t.one"}, {"many", "t.two"}, {"devices", 4}},
               cells),
      Value(.75));
}

TEST(Methods, SmallestTableRatio) {
  Json cell_one = reported_claim, cell_two = reported_claim, up = computed_claim,
       down = computed_claim, smallest = computed_claim;
  cell_one["id"] = "t.one";
  cell_two["id"] = "t.two";
  cell_one["published"] = 12;
  cell_two["published"] = 4;
  up["id"] = "t.up";
  up["method"] = {{"name", "table_ratio"}, {"numerator", "t.one"}, {"denominator", "t.two"}};
  down["id"] = "t.down";
  down["method"] = {{"name", "table_ratio"}, {"numerator", "t.two"}, {"denominator", "t.one"}};
  smallest["method"] = {{"name", "smallest_table_ratio"}, {"ids", {"t.up", "t.down"}}};
  const auto claims = parse_claims(document({cell_one, cell_two, up, down, smallest}));
  EXPECT_EQ(judge(claims, {"a.b"}, no_times).front().ours, Value(4. / 12));
}

TEST(Methods, VbenchAggregates) {
  std::vector<std::pair<std::string, double>> cells;
  // Every column at the top of its range, but dynamic degree and the colour at the bottom.
  for (const char* column : {"sc", "bc", "tf", "aq", "iq", "objc", "mo", "ha", "sr"})
    cells.emplace_back(std::string("table1.m.") + column, 100);
  for (const auto& [column, most] : std::vector<std::pair<std::string, double>>{{"ms", 99.75},
                                                                                {"dd", 0},
                                                                                {"color", 0},
                                                                                {"scene", 82.22},
                                                                                {"as", 28.55},
                                                                                {"ts", 36.4},
                                                                                {"overc", 36.4}})
    cells.emplace_back("table1.m." + column, most);
  const auto aggregate = [&](const char* name) {
    return std::get<double>(
        value_of({{"name", "vbench_aggregate"}, {"model", "m"}, {"aggregate", name}}, cells));
  };
  EXPECT_NEAR(aggregate("quality"), 100 * 6 / 6.5, 1e-9);
  EXPECT_NEAR(aggregate("semantic"), 100 * 8. / 9, 1e-9);
  EXPECT_NEAR(aggregate("total"), (4 * 100 * 6 / 6.5 + 100 * 8. / 9) / 5, 1e-9);
}

TEST(Methods, AttentionTimeRatio) {
  const Json times{{"grid", {21, 48, 80}},
                   {"cases",
                    {{{"pattern", "full"}, {"ratio", 1}, {"time_ratio", 1.0}},
                     {{"pattern", "skiparse-2d"}, {"ratio", 2}, {"time_ratio", 3.75}}}}};
  const auto ask = [&](const char* grid) {
    return on("attention_time_ratio", grid, "skiparse-2d", "2");
  };
  EXPECT_EQ(value_of(ask("21x48x80"), {}, [&]() -> const Json& { return times; }), Value(3.75));

  Json claim = computed_claim;
  claim["method"] = ask("21x45x80");
  const auto claims = parse_claims(document({claim}));
  const auto other_grid = judge(claims, {}, [&]() -> const Json& { return times; }).front();
  EXPECT_EQ(other_grid.status, "not-reproducible-here");
  const auto no_record = judge(claims, {}, no_times).front();
  EXPECT_EQ(no_record.status, "not-reproducible-here");
  EXPECT_EQ(no_record.reason, "no result of record");
}

}  // namespace
}  // namespace ospsim
