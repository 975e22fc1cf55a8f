#include "experiments/claims/claims.hpp"

#include <gtest/gtest.h>

#include <cmath>
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

const Json& no_record(const std::string&) {
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
  const auto verdicts = judge(claims, {"a.c"}, no_record);
  ASSERT_EQ(verdicts.size(), 1u);
  EXPECT_EQ(verdicts[0].status, "not-reproducible-here");
  EXPECT_EQ(verdicts[0].reason, "r");
  EXPECT_FALSE(verdicts[0].ours);
  EXPECT_THROW(judge(claims, {"a.d"}, no_record), InputError);
  EXPECT_EQ(judge(claims, {}, no_record).size(), 2u);
}

// ---- Every method on numbers known by hand -----------------------------------------------------

/// The value of a method that finds a number, or else a truth value, with cells t.one .. of the
/// published numbers given beside it.
Value value_of(const Json& method, const std::vector<std::pair<std::string, double>>& cells = {},
               const Documents& experiments = no_record) {
  Json claim = computed_claim;
  claim["method"] = method;
  std::vector<Json> claims{claim};
  for (const auto& [id, published] : cells) {
    Json cell = reported_claim;
    cell["id"] = id;
    cell["published"] = published;
    claims.push_back(cell);
  }
  const auto found = [&] {
    return judge(parse_claims(document(claims)), {"a.b"}, experiments).front().ours.value();
  };
  try {
    return found();
  } catch (const InputError& error) {
    if (std::string(error.what()).find("finds a truth value") == std::string::npos) throw;
  }
  claims[0]["published"] = true;
  claims[0].erase("tolerance");
  return found();
}

TEST(Claims, MethodsFindWhatIsPublished) {
  Json claim = computed_claim;
  claim["published"] = true;
  claim.erase("tolerance");
  EXPECT_THROW(judge(parse_claims(document({claim})), {}, no_record), InputError);
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
  EXPECT_EQ(judge(claims, {"a.b"}, no_record).front().ours, Value(4. / 12));
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
  const Documents documents = [&](const std::string& name) -> const Json& {
    EXPECT_EQ(name, "attention-time");
    return times;
  };
  EXPECT_EQ(value_of(ask("21x48x80"), {}, documents), Value(3.75));

  Json claim = computed_claim;
  claim["method"] = ask("21x45x80");
  const auto claims = parse_claims(document({claim}));
  EXPECT_EQ(claims[0].experiment, "attention-time");
  const auto other_grid = judge(claims, {}, documents).front();
  EXPECT_EQ(other_grid.status, "not-reproducible-here");
  const auto without = judge(claims, {}, no_record).front();
  EXPECT_EQ(without.status, "not-reproducible-here");
  EXPECT_EQ(without.reason, "no result of record");
}

// ---- Of 8-bit formats --------------------------------------------------------------------------

Json of_format(const char* name, const char* format, Json more = Json::object()) {
  Json method{{"name", name}, {"format", format}};
  method.update(more);
  return method;
}

TEST(Methods, FormatsAreCounted) {
  const auto count = [](const char* name, const char* format, Json more = Json::object()) {
    return number_of(of_format(name, format, more));
  };
  EXPECT_EQ(count("format_bits", "hif8"), 8);
  EXPECT_EQ(count("format_bits", "f16"), 16);
  // Subnormals included: from 2^-22, 2^-9, 2^-16 and 2^-24 up.
  EXPECT_EQ(count("format_exponents", "hif8"), 38);
  EXPECT_EQ(count("format_exponents", "e4m3"), 18);
  EXPECT_EQ(count("format_exponents", "e5m2"), 32);
  EXPECT_EQ(count("format_exponents", "f16"), 40);
  EXPECT_EQ(count("format_exponents", "e8m0"), 255);
  EXPECT_EQ(count("format_least_exponent", "hif8"), -22);
  EXPECT_EQ(count("format_least_exponent", "e4m3"), -9);
  EXPECT_EQ(count("format_least_exponent", "e5m2"), -16);
  EXPECT_EQ(count("format_largest_exponent", "hif8"), 15);
  EXPECT_EQ(count("format_largest_exponent", "e4m3"), 8);
  EXPECT_EQ(count("format_largest_exponent", "e5m2"), 15);
  const auto exponents = [&](const char* format, int fraction_bits) {
    return count("format_exponents_with_fraction_bits", format, {{"fraction_bits", fraction_bits}});
  };
  EXPECT_EQ(exponents("hif8", 3), 7);
  EXPECT_EQ(exponents("hif8", 2), 8);
  EXPECT_EQ(exponents("hif8", 1), 16);
  EXPECT_EQ(exponents("hif8", 0), 7);
  EXPECT_EQ(exponents("hif8", 4), 0);
  EXPECT_EQ(exponents("e5m2", 2), 30);
  const auto codes = [&](const char* name, const char* format, const char* kind) {
    return count(name, format, {{"kind", kind}});
  };
  EXPECT_EQ(codes("format_codes_of_kind", "hif8", "zero"), 1);
  EXPECT_EQ(codes("format_codes_of_kind", "hif8", "nan"), 1);
  EXPECT_EQ(codes("format_codes_of_kind", "hif8", "infinity"), 2);
  EXPECT_EQ(codes("format_codes_of_kind", "e4m3", "zero"), 2);
  EXPECT_EQ(codes("format_codes_of_kind", "e4m3", "infinity"), 0);
  EXPECT_EQ(codes("format_codes_of_kind", "e5m2", "nan"), 6);
  EXPECT_EQ(codes("format_code_of_kind", "hif8", "nan"), 0x80);
  EXPECT_EQ(codes("format_code_of_kind", "hif8", "infinity"), 0x6f);
  EXPECT_EQ(codes("format_code_of_kind", "e5m2", "infinity"), 0x7c);
  EXPECT_EQ(codes("format_code_of_kind", "e4m3", "nan"), 0x7f);
}

TEST(Methods, FormatsHaveAPrecision) {
  EXPECT_EQ(value_of(of_format("format_precision_tapers", "hif8")), Value(true));
  const auto largest = [](int fraction_bits) {
    return number_of(
        of_format("format_largest_with_fraction_bits", "hif8", {{"fraction_bits", fraction_bits}}));
  };
  EXPECT_EQ(largest(3), 15);
  EXPECT_EQ(largest(2), 224);
  EXPECT_EQ(largest(0), 32768);
  EXPECT_NEAR(number_of(of_format("format_gaussian_sqnr_db", "hif8")), 31.516, .001);
  EXPECT_NEAR(number_of(of_format("format_gaussian_sqnr_db", "e5m2")), 25.543, .001);
}

TEST(Claims, RejectFormatsThatDoNotExist) {
  const std::vector<Json> bad{
      of_format("format_bits", "e9m9"),
      of_format("format_bits", "int8"),
      {{"name", "format_bits"}},
      of_format("format_bits", "hif8", {{"kind", "nan"}}),
      of_format("format_codes_of_kind", "hif8"),
      of_format("format_codes_of_kind", "hif8", {{"kind", "finite"}}),
      of_format("format_exponents_with_fraction_bits", "hif8"),
      of_format("format_exponents_with_fraction_bits", "hif8", {{"fraction_bits", -1}}),
      of_format("format_exponents_with_fraction_bits", "hif8", {{"fraction_bits", 64}}),
      of_format("format_largest_with_fraction_bits", "hif8", {{"fraction_bits", 32}}),
      of_format("format_gaussian_sqnr_db", "e9m9"),
      of_format("format_gaussian_sqnr_db", "mxfp8-e4m3"),
      {{"name", "format_error_difference"}, {"table", "recipes"}, {"field", "sqnr_db"}},
      {{"name", "format_error_ratio"}, {"table", "recipes"}, {"field", 1}}};
  for (const Json& method : bad) {
    const std::string message = rejection_with("method", method);
    EXPECT_NE(message.find("'a.b'"), std::string::npos) << method << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

const Json format_error_document{
    {"experiment", "format-error"},
    {"recipes",
     {{{"key", "x/hif8"}, {"sqnr_db", 30.5}, {"sqnr_db_deviation", nullptr}},
      {{"key", "x/e4m3"}, {"sqnr_db", 28.25}}}},
    {"gaussian", {{{"format", "hif8"}, {"sqnr_db", 31.0}}}}};

const Json& documents_of_formats(const std::string& name) {
  EXPECT_EQ(name, "format-error");
  return format_error_document;
}

Json difference(const char* table, const char* field, const char* minuend, const char* subtrahend) {
  return {{"name", "format_error_difference"},
          {"table", table},
          {"field", field},
          {"minuend", minuend},
          {"subtrahend", subtrahend}};
}

TEST(Methods, FormatError) {
  EXPECT_EQ(
      value_of(difference("recipes", "sqnr_db", "x/hif8", "x/e4m3"), {}, documents_of_formats),
      Value(2.25));
  EXPECT_EQ(value_of({{"name", "format_error_ratio"},
                      {"table", "recipes"},
                      {"field", "sqnr_db"},
                      {"numerator", "x/hif8"},
                      {"denominator", "x/e4m3"}},
                     {}, documents_of_formats),
            Value(30.5 / 28.25));
}

TEST(Methods, FormatErrorWithoutItsNumbersIsNotReproducibleHere) {
  for (const Json& method :
       std::vector<Json>{difference("recipes", "sqnr_db", "x/hif8", "x/e5m2"),
                         difference("recipes", "sqnr_db", "x/e5m2", "x/hif8"),
                         difference("downstream", "sqnr_db", "x/hif8", "x/e4m3"),
                         difference("recipes", "relative_l2", "x/hif8", "x/e4m3"),
                         difference("recipes", "sqnr_db_deviation", "x/hif8", "x/e4m3"),
                         difference("gaussian", "sqnr_db", "hif8", "hif8"),
                         difference("experiment", "sqnr_db", "x/hif8", "x/e4m3")}) {
    Json claim = computed_claim;
    claim["method"] = method;
    const auto claims = parse_claims(document({claim}));
    EXPECT_EQ(claims[0].experiment, "format-error");
    EXPECT_EQ(judge(claims, {}, no_record).front().status, "not-reproducible-here");
    try {
      const auto verdict = judge(claims, {}, documents_of_formats).front();
      EXPECT_EQ(verdict.status, "not-reproducible-here") << method;
      EXPECT_NE(verdict.reason.find("format-error"), std::string::npos) << verdict.reason;
    } catch (const std::exception& error) {
      ADD_FAILURE() << method << ": " << error.what();
    }
  }
}

// ---- Of what sequence parallelism moves --------------------------------------------------------

Json of_strategy(const char* name, const char* strategy, int ranks, Json more = Json::object()) {
  Json method{{"name", name}, {"strategy", strategy}, {"ranks", ranks}, {"grid", "21x48x80"}};
  method.update(more);
  return method;
}

TEST(Methods, TrafficOfABlock) {
  EXPECT_NEAR(number_of(of_strategy("block_sent_megabytes", "ulysses", 2)), 825.8, .05);
  EXPECT_NEAR(number_of(of_strategy("block_sent_megabytes", "ssp-ulysses", 8)), 283.9, .05);
  EXPECT_NEAR(number_of(of_strategy("block_sent_megabytes", "ulysses", 8, {{"grid", "21x45x80"}})),
              338.7, .05);
  const Json to_ulysses{{"to", "ulysses"}};
  EXPECT_EQ(number_of(of_strategy("block_sent_ratio", "ssp", 4, to_ulysses)), .25);
  EXPECT_NEAR(number_of(of_strategy("block_sent_ratio", "ssp-ulysses", 8, to_ulysses)), .786,
              .0005);
  EXPECT_EQ(number_of(of_strategy("block_saving_percent", "ssp", 4, to_ulysses)), 75);
  EXPECT_NEAR(number_of(of_strategy("block_saving_percent", "ssp-ulysses", 8, to_ulysses)), 21.4,
              .05);
  EXPECT_EQ(number_of(of_strategy("block_collectives", "ssp", 4)), 1);
  EXPECT_EQ(number_of(of_strategy("block_collectives", "ssp-ulysses", 8)), 5);
  EXPECT_EQ(number_of(of_strategy("block_collectives", "ulysses", 8)), 4);
}

Json of_forward(const char* name, const char* strategy, int ranks, Json more = Json::object()) {
  Json method =
      of_strategy(name, strategy, ranks, {{"model", "osp-next-14b"}, {"boundary", "all-gather"}});
  method.update(more);
  return method;
}

TEST(Methods, TrafficOfAForwardPass) {
  EXPECT_NEAR(number_of(of_forward("forward_sent_megabytes", "ssp", 4)), 10993, .5);
  EXPECT_NEAR(
      number_of(of_forward("forward_sent_megabytes", "ulysses", 4, {{"model", "wan2.1-14b"}})),
      24773, .5);
  EXPECT_NEAR(number_of(of_forward("forward_saving_percent", "ssp", 4)), 55.6, .05);
  EXPECT_NEAR(number_of(of_forward("forward_saving_percent", "ssp", 4, {{"boundary", "reshard"}})),
              59.4, .05);
  EXPECT_NEAR(number_of(of_forward("forward_saving_percent", "ssp-ulysses", 8)), 7.7, .05);
  EXPECT_NEAR(
      number_of(of_forward("forward_saving_percent", "ssp-ulysses", 8, {{"grid", "21x45x80"}})),
      3.2, .05);
  const auto parts = [](const char* name, const Json& labels) {
    return number_of(of_forward(name, "ssp", 4, {{"parts", labels}}));
  };
  EXPECT_NEAR(parts("forward_parts_sent_megabytes", {"full blocks"}), 4955, .5);
  EXPECT_NEAR(parts("forward_parts_sent_megabytes", {"phase switches"}), 4800, .5);
  EXPECT_NEAR(parts("forward_parts_sent_megabytes", {"leaving", "entering"}), 1239, .5);
  EXPECT_EQ(parts("forward_parts_collectives", {"full blocks"}), 8 * 4);
  EXPECT_EQ(parts("forward_parts_collectives", {"phase switches", "entering", "leaving"}), 31 + 2);
}

TEST(Methods, TrafficOfAllRanks) {
  const auto has_power = [](const char* strategy, int power) {
    return value_of({{"name", "total_volume_has_power"},
                     {"strategy", strategy},
                     {"grid", "21x48x80"},
                     {"power", power}});
  };
  EXPECT_EQ(has_power("ssp", 1), Value(true));
  EXPECT_EQ(has_power("ssp", 2), Value(false));
  EXPECT_EQ(has_power("gather", 2), Value(true));
  EXPECT_EQ(has_power("gather", 1), Value(false));
}

TEST(Claims, RejectStrategiesThatDoNotExist) {
  const std::vector<Json> bad{
      of_strategy("block_sent_megabytes", "telepathy", 2),
      of_strategy("block_sent_megabytes", "ulysses", 0),
      of_strategy("block_sent_megabytes", "ulysses", 2, {{"grid", "21x"}}),
      of_strategy("block_sent_megabytes", "ulysses", 2, {{"to", "ssp"}}),
      of_strategy("block_sent_ratio", "ssp", 2),
      of_strategy("block_sent_ratio", "ssp", 2, {{"to", "nothing"}}),
      of_strategy("block_saving_percent", "ssp", 2),
      of_strategy("block_collectives", "ssp", 2, {{"ranks", "2"}}),
      {{"name", "block_collectives"}, {"strategy", "ssp"}, {"ranks", 2}},
      of_strategy("forward_sent_megabytes", "ssp", 2),
      of_forward("forward_sent_megabytes", "ssp", 2, {{"model", "wan9"}}),
      of_forward("forward_sent_megabytes", "ssp", 2, {{"boundary", "wall"}}),
      of_forward("forward_saving_percent", "ssp", 2, {{"parts", {"leaving"}}}),
      of_forward("forward_parts_sent_megabytes", "ssp", 2),
      of_forward("forward_parts_sent_megabytes", "ssp", 2, {{"parts", "leaving"}}),
      of_forward("forward_parts_collectives", "ssp", 2, {{"parts", {1}}}),
      {{"name", "total_volume_has_power"}, {"strategy", "ssp"}, {"grid", "21x48x80"}},
      {{"name", "runs_equal_one_rank"}, {"strategy", "ssp"}},
      {{"name", "runs_have_one_collective"}, {"ranks", 2}},
      {{"name", "exchange_time_ratio"}, {"numerator", "ssp"}},
      {{"name", "switch_is_own_inverse"}, {"strategy", "ssp"}}};
  for (const Json& method : bad) {
    const std::string message = rejection_with("method", method);
    EXPECT_NE(message.find("'a.b'"), std::string::npos) << method << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

Json run_of(const char* strategy, int ranks, int collectives = 1) {
  return {{"strategy", strategy},
          {"ranks", ranks},
          {"measured", {{"collectives", collectives}, {"steps", collectives}}},
          {"counts_agree", true},
          {"max_abs_difference", 0.0}};
}

/// What the experiment sequence-parallel found.
struct Found {
  Json document{
      {"runs",
       {run_of("ssp", 1, 0), run_of("ssp", 2), run_of("ssp", 4), run_of("ulysses", 2, 4),
        run_of("ring", 2, 0)}},
      {"exchange_times",
       {{"switch_is_own_inverse", true}, {"median_ms", {{"ssp", 3.0}, {"ulysses", 8.0}}}}}};

  Json& run(std::size_t i) { return document["runs"][i]; }
  Verdict verdict(const Json& method) const {
    Json claim = computed_claim;
    claim["method"] = method;
    if (method.at("name") != "exchange_time_ratio") {
      claim["published"] = true;
      claim.erase("tolerance");
    }
    const auto claims = parse_claims(::ospsim::document({claim}));
    EXPECT_EQ(claims[0].experiment, "sequence-parallel");
    EXPECT_EQ(judge(claims, {}, no_record).front().status, "not-reproducible-here");
    return judge(claims, {},
                 [&](const std::string& name) -> const Json& {
                   EXPECT_EQ(name, "sequence-parallel");
                   return document;
                 })
        .front();
  }
  Value value(const Json& method) const { return verdict(method).ours.value(); }
};

Json runs_equal(const char* strategy, int ranks) {
  return {{"name", "runs_equal_one_rank"}, {"strategy", strategy}, {"ranks", ranks}};
}

TEST(Methods, RunsOfRealProcesses) {
  Found found;
  found.run(4)["max_abs_difference"] = 1e-7;
  EXPECT_EQ(found.value(runs_equal("ssp", 2)), Value(true));
  EXPECT_EQ(found.value(runs_equal("ring", 2)), Value(false));
  EXPECT_EQ(found.verdict(runs_equal("ulysses", 8)).status, "not-reproducible-here");
  const Json one_collective{{"name", "runs_have_one_collective"}};
  EXPECT_EQ(found.value(one_collective), Value(true));
  EXPECT_EQ(found.value({{"name", "switch_is_own_inverse"}}), Value(true));
  EXPECT_EQ(
      found.value(
          {{"name", "exchange_time_ratio"}, {"numerator", "ssp"}, {"denominator", "ulysses"}}),
      Value(3. / 8));

  Found uncounted;
  uncounted.run(1)["counts_agree"] = false;
  EXPECT_EQ(uncounted.value(runs_equal("ssp", 2)), Value(false));
  EXPECT_EQ(uncounted.value(runs_equal("ssp", 4)), Value(true));
  EXPECT_EQ(uncounted.value(one_collective), Value(false));
  Found twice;
  twice.run(2) = run_of("ssp", 4, 2);
  EXPECT_EQ(twice.value(one_collective), Value(false));
  twice.document["exchange_times"]["switch_is_own_inverse"] = false;
  EXPECT_EQ(twice.value({{"name", "switch_is_own_inverse"}}), Value(false));
}

TEST(Methods, RunsThatAreNotThereProveNothing) {
  Found found;
  found.document["runs"] = Json::array();
  for (const Json& method : {runs_equal("ssp", 2), Json{{"name", "runs_have_one_collective"}}})
    EXPECT_EQ(found.verdict(method).status, "not-reproducible-here") << method;
}

// ---- Of what a pattern keeps -------------------------------------------------------------------

Json output_error(const char* grid, const char* pattern, const char* ratio, const char* bandwidth) {
  return on("output_error", grid, pattern, ratio, {{"bandwidth", bandwidth}});
}

/// Skiparse-2D beside Skiparse-1D of the same sparsity.
Json duel(const char* name, const char* grid, Json more = Json::object()) {
  Json method =
      on(name, grid, "skiparse-2d", "2", {{"other", "skiparse-1d"}, {"other_ratio", "4"}});
  method.update(more);
  return method;
}

TEST(Methods, OutputError) {
  EXPECT_EQ(number_of(output_error("2x5x7", "full", "1", "3")), 0);
  EXPECT_NEAR(number_of(output_error("21x48x80", "skiparse-1d", "4", "3")), .2412, .0001);
  EXPECT_NEAR(number_of(output_error("21x48x80", "skiparse-2d", "2", "3")), .1563, .0001);
  EXPECT_NEAR(number_of(output_error("21x48x80", "y0,x0|y/2,x/2", "2", "3")), .1169, .0001);
  EXPECT_NEAR(number_of(output_error("21x45x80", "skiparse-2d", "2", "0.7")), .2941, .0001);
  // Two tokens that attend to themselves alone: F = (1, e)/(1 + e) and D = (e, -e)/(1 + e), with
  // e = exp(-1/2s^2), so that the error is e sqrt(2 (1 - r) / (1 + e^2 + 2 e r)), r their
  // correlation.
  const double s = 1.5, e = std::exp(-1 / (2 * s * s));
  double r = 0;
  for (const double length : {1, 2, 4, 8, 16}) r += std::exp(-1 / (2 * length * length)) / 6;
  EXPECT_NEAR(number_of(output_error("1x1x2", "window", "1,1,2", "1.5")),
              e * std::sqrt(2 * (1 - r) / (1 + e * e + 2 * e * r)), 1e-12);
}

TEST(Methods, CloserFrom) {
  const auto from = [](const char* grid, const char* bandwidth) {
    return value_of(duel("closer_from", grid, {{"bandwidth", bandwidth}}));
  };
  EXPECT_EQ(from("3x45x80", "0.7"), Value(false));
  EXPECT_EQ(from("3x45x80", "1.5"), Value(false));
  EXPECT_EQ(from("3x45x80", "1.6"), Value(true));
  EXPECT_EQ(from("3x45x80", "2"), Value(true));
  EXPECT_EQ(from("3x48x69", "2"), Value(false));
  // Nothing is closer than itself.
  EXPECT_EQ(value_of(on("closer_from", "2x5x7", "full", "1",
                        {{"other", "full"}, {"other_ratio", "1"}, {"bandwidth", "2"}})),
            Value(false));
}

TEST(Methods, Crossover) {
  EXPECT_NEAR(number_of(duel("crossover", "21x45x80")), 1.779, .002);
  EXPECT_NEAR(number_of(duel("crossover", "21x48x80")), 1.780, .002);
  EXPECT_NEAR(number_of(duel("crossover", "21x30x52")), 1.258, .002);
  Json claim = computed_claim;
  claim["method"] =
      on("crossover", "2x5x7", "full", "1", {{"other", "skiparse-2d"}, {"other_ratio", "2"}});
  const auto claims = parse_claims(document({claim}));
  EXPECT_EQ(judge(claims, {}, no_record).front().status, "not-reproducible-here");
}

double shortest_alias(const char* grid, const char* pattern, const char* ratio) {
  return number_of(on("shortest_alias", grid, pattern, ratio));
}

TEST(Methods, ShortestAlias) {
  // Runs of 4 x 4 tokens repeat every 16th.
  EXPECT_DOUBLE_EQ(shortest_alias("21x48x80", "skiparse-1d", "4"), 1. / 16);
  EXPECT_DOUBLE_EQ(shortest_alias("21x30x52", "skiparse-1d", "4"), 1. / 4);
  EXPECT_DOUBLE_EQ(shortest_alias("21x48x80", "skiparse-2d", "2"), 1. / 4);
  EXPECT_DOUBLE_EQ(shortest_alias("21x48x80", "skiparse-2d", "3"), 1. / 9);
  EXPECT_DOUBLE_EQ(shortest_alias("1x8x8", "y0", "2"), 1. / 2);
  Json claim = computed_claim;
  claim["method"] = on("shortest_alias", "2x6x8", "window", "1,2,2");
  const auto claims = parse_claims(document({claim}));
  EXPECT_EQ(judge(claims, {}, no_record).front().status, "not-reproducible-here");
}

TEST(Methods, ShortestAliasOfAChessboardIsLongerThanAHalf) {
  EXPECT_DOUBLE_EQ(shortest_alias("1x6x7", "s0", "2"), std::sqrt(.5));
}

TEST(Methods, FullAttentionHasNoShortestAlias) {
  Json claim = computed_claim;
  claim["method"] = on("shortest_alias", "1x6x7", "full", "1");
  const auto claims = parse_claims(document({claim}));
  EXPECT_EQ(judge(claims, {}, no_record).front().status, "not-reproducible-here");
}

void expect_rejected(const Json& method) {
  const std::string message = rejection_with("method", method);
  EXPECT_NE(message.find("'a.b'"), std::string::npos) << method << ": " << message;
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

TEST(Claims, RejectPatternsThatCannotBeCompared) {
  for (const char* grid : {"", "21x", "0x1x1", "1x2x3x4", "2x1024x1024"}) {
    expect_rejected(output_error(grid, "full", "1", "3"));
    expect_rejected(on("shortest_alias", grid, "skiparse-2d", "2"));
    expect_rejected(duel("crossover", grid));
    expect_rejected(duel("closer_from", grid, {{"bandwidth", "2"}}));
  }
  for (const char* s : {"", "x", "nan", "inf", "0", "-1", "0.09", "1001", "3 ", "3x", "1e999"}) {
    expect_rejected(output_error("2x5x7", "full", "1", s));
    expect_rejected(duel("closer_from", "2x5x7", {{"bandwidth", s}}));
  }
  for (const Json& more : std::vector<Json>{{{"pattern", "skiparse-9d"}},
                                            {{"pattern", "radial:decay=1"}},
                                            {{"ratio", "0"}},
                                            {{"ratio", 2}},
                                            {{"other", "skiparse-9d"}},
                                            {{"other_ratio", "1,2"}},
                                            {{"bandwidth", "2"}},
                                            {{"hops", 2}}})
    expect_rejected(duel("crossover", "2x5x7", more));
  expect_rejected(duel("closer_from", "2x5x7"));
  expect_rejected(duel("closer_from", "2x5x7", {{"bandwidth", 2}}));
  expect_rejected(on("output_error", "2x5x7", "full", "1"));
  expect_rejected(on("closer_from", "2x5x7", "full", "1", {{"bandwidth", "2"}}));
  expect_rejected(on("crossover", "2x5x7", "full", "1"));
  expect_rejected(on("shortest_alias", "2x5x7", "full", "1", {{"bandwidth", "2"}}));
}

TEST(Claims, RejectGridsTooLongForErrors) {
  expect_rejected(output_error("1x1x9000", "full", "1", "3"));
  expect_rejected(duel("crossover", "1x1x9000"));
  expect_rejected(duel("closer_from", "9000x1x1", {{"bandwidth", "2"}}));
}

TEST(Claims, RejectBandwidthsBeyondTheTable) {
  expect_rejected(duel("closer_from", "2x5x7", {{"bandwidth", "17"}}));
}

// ---- Of a device -------------------------------------------------------------------------------

Json device_row(const char* name, double time_ms, Json fields) {
  Json row{{"name", name}, {"time_ms", time_ms}, {"check", "passed"}};
  row.update(fields);
  return row;
}

const Json device_record{{"device", "NVIDIA H200"},
                         {"forward",
                          {device_row("wan2.1-14b", 9000, {{"video", "720p"}}),
                           device_row("osp-next-14b", 6000, {{"video", "720p"}}),
                           device_row("wan2.1-14b", 10000, {{"video", "768p"}})}},
                         {"choices",
                          {device_row("osp-next-14b", 5900,
                                      {{"video", "720p"},
                                       {"padding", "left out"},
                                       {"text", "per sub-sequence"},
                                       {"rearrange", "alone"},
                                       {"numbers", "bf16"}}),
                           device_row("osp-next-14b", 5000,
                                      {{"video", "720p"},
                                       {"padding", "left out"},
                                       {"text", "once"},
                                       {"rearrange", "with norm"},
                                       {"numbers", "bf16"}})}},
                         {"attention",
                          {device_row("full attention", 200, {{"queries", 80640}, {"heads", 20}}),
                           device_row("full attention", 400, {{"queries", 80640}, {"heads", 40}}),
                           device_row("sparse block's attention, rearranged", 120,
                                      {{"t", 21}, {"h", 48}, {"w", 80}, {"phase", "token"}}),
                           device_row("sparse block's attention, already rearranged", 100,
                                      {{"t", 21}, {"h", 48}, {"w", 80}, {"phase", "token"}})}}};

Json of_device(const char* name, Json arguments) {
  Json method{{"name", name}, {"device", "H200"}};
  method.update(arguments);
  return method;
}

TEST(Methods, TimesOfADevice) {
  const Documents documents = [](const std::string& name) -> const Json& {
    EXPECT_EQ(name, "device-time");
    return device_record;
  };
  const auto ask = [&](const Json& method) { return value_of(method, {}, documents); };
  EXPECT_EQ(ask(of_device("device_video_seconds", {{"model", "wan2.1-14b"}, {"video", "720p"}})),
            Value(900.0));
  EXPECT_EQ(ask(of_device("device_speedup", {{"video", "720p"}})), Value(1.5));
  EXPECT_EQ(ask(of_device("device_best_speedup", {{"video", "720p"}})), Value(1.8));
  EXPECT_EQ(ask(of_device("device_attention_ratio", {{"grid", "21x48x80"}})), Value(4.0));
}

TEST(Methods, WhatADeviceDidNotTimeIsNotReproducibleHere) {
  Json record = device_record;
  const auto status = [&](const Json& method) {
    Json claim = computed_claim;
    claim["method"] = method;
    claim["expected"] = "not-reproducible-here";
    claim["reason"] = "r";
    const auto claims = parse_claims(document({claim}));
    return judge(claims, {}, [&](const std::string&) -> const Json& { return record; }).front();
  };
  const Json speedup = of_device("device_speedup", {{"video", "720p"}});
  EXPECT_NE(status(speedup).status, "not-reproducible-here");
  EXPECT_EQ(status(of_device("device_speedup", {{"video", "768p"}})).status,
            "not-reproducible-here");
  record["forward"][1]["check"] = "failed";
  EXPECT_NE(status(speedup).reason.find("check"), std::string::npos);
  record = device_record;
  record["device"] = "NVIDIA H100 80GB HBM3";
  EXPECT_EQ(status(speedup).reason, "measured on a NVIDIA H100 80GB HBM3, not on a H200");
  record.erase("forward");
  EXPECT_EQ(status(speedup).status, "not-reproducible-here");
}

TEST(Claims, WithAMethodAreNotExpectedToBeOutOfReachUnlessTheyNeedAnExperiment) {
  EXPECT_NE(rejection_with("expected", "not-reproducible-here"), "");
}

TEST(Claims, NameTheExperimentTheyRestOn) {
  EXPECT_EQ(parse_claims(document({computed_claim}))[0].experiment, "");
  std::set<std::string> experiments;
  for (const auto& claim : load_claims(default_claims_path())) experiments.insert(claim.experiment);
  EXPECT_TRUE(experiments.contains("format-error"));
  EXPECT_TRUE(experiments.contains("attention-time"));
  EXPECT_TRUE(experiments.contains("sequence-parallel"));
  EXPECT_TRUE(experiments.contains("device-time"));
}

}  // namespace
}  // namespace ospsim
