#include "tests/experiments/cli_fixture.hpp"

namespace ospsim {
namespace {

class CodecCli : public Cli {
 protected:
  std::string input(const std::string& lines) const {
    std::ofstream(folder.file("in"), std::ios::binary) << lines;
    return folder.file("in");
  }
  Program codec(const std::string& line, const std::string& lines,
                const std::string& standard_output = {}) const {
    return Program(words("codec " + line), {.folder = folder.path(),
                                            .standard_output = standard_output,
                                            .standard_input = input(lines)});
  }
  std::string converted(const std::string& line, const std::string& lines) const {
    const Program program = codec(line, lines);
    EXPECT_EQ(program.wait(), 0) << line << '\n' << program.err();
    EXPECT_EQ(program.err(), "") << line;
    return program.out();
  }
  /// Ends with 2 and one line that names line `number`, after `before` was printed.
  void expect_bad_line(const std::string& lines, int number, const std::string& before,
                       const std::string& line = "encode") const {
    const Program program = codec(line, lines);
    EXPECT_EQ(program.wait(), 2) << lines;
    const std::string err = program.err();
    EXPECT_NE(err.find("line " + std::to_string(number) + ":"), std::string::npos) << err;
    EXPECT_EQ(std::count(err.begin(), err.end(), '\n'), 1) << err;
    EXPECT_EQ(program.out(), before);
  }
};

TEST_F(CodecCli, EncodesAndDecodesTheExampleOfItsHelp) {
  EXPECT_EQ(converted("encode --format hif8", "3f800000\n47200000\n"), "08\n6f\n");
  EXPECT_EQ(converted("decode --format hif8", "08\n6f\n"), "3f800000\n7f800000\n");
}

TEST_F(CodecCli, DefaultsAreHif8AndIeee) {
  // 1.0625 is halfway; 40960, NaN, -0.
  EXPECT_EQ(converted("encode", "3f880000\n47200000\n7fc00000\n80000000\n"), "09\n6f\n80\n00\n");
  EXPECT_EQ(converted("decode", "09\n80\n6e\n"), "3f900000\n7fc00000\n47000000\n");
  // 1.0625 and 1.1875 to even, 465 to NaN.
  EXPECT_EQ(converted("encode --format e4m3", "3f880000\n3f980000\n43e88000\n"), "38\n3a\n7f\n");
  EXPECT_EQ(converted("encode --format e5m2", "3f900000\n3fb00000\n47700000\n"), "3c\n3e\n7c\n");
  EXPECT_EQ(converted("encode --format e8m0", "3f800000\n3fffffff\n7fc00000\n7f800000\n"),
            "7f\n7f\nff\nff\n");
}

TEST_F(CodecCli, EveryFormatDecodes) {
  EXPECT_EQ(converted("decode --format e4m3", "38\n7e\n7f\n80\n01\n"),
            "3f800000\n43e00000\n7fc00000\n80000000\n3b000000\n");
  EXPECT_EQ(converted("decode --format e5m2", "3c\n7b\n7c\nfc\n01\n"),
            "3f800000\n47600000\n7f800000\nff800000\n37800000\n");
  EXPECT_EQ(converted("decode --format e8m0", "00\n7f\nfe\nff\n"),
            "00400000\n3f800000\n7f000000\n7fc00000\n");
}

TEST_F(CodecCli, EveryRounding) {
  const auto check = [&](const std::string& options, const std::string& number,
                         const std::string& code) {
    EXPECT_EQ(converted("encode " + options, number + '\n'), code + '\n') << options;
  };
  check("--rounding ta", "3f880000", "09");
  check("--rounding rne", "3f880000", "08");
  check("--rounding hybrid", "3f880000", "09");
  check("--rounding hybrid", "41800000", "41");  // 16 becomes 20, as published
  check("--rounding hybrid-exact", "41800000", "40");
  check("--rounding stochastic", "41800000", "40");
  check("--format e4m3 --rounding ta", "3f880000", "39");
  check("--format e4m3 --rounding rne", "3f880000", "38");
  check("--format e4m3 --rounding stochastic", "3f800000", "38");
  check("--format e5m2 --rounding ta", "3f900000", "3d");
  check("--format e5m2 --rounding rne", "3f900000", "3c");
  check("--format e5m2 --rounding stochastic", "3f800000", "3c");
  check("--format e8m0 --rounding floor", "3fc00000", "7f");
  check("--format e8m0 --rounding ceil", "3fc00000", "80");
  check("--format e8m0 --rounding ceil", "3f800000", "7f");
}

TEST_F(CodecCli, EveryOverflow) {
  const std::string lines = "47200000\n7f800000\nff800000\n7fc00000\n";
  EXPECT_EQ(converted("encode --overflow ieee", lines), "6f\n6f\nef\n80\n");
  EXPECT_EQ(converted("encode --overflow saturate", lines), "6e\n6e\nee\n80\n");
  EXPECT_EQ(converted("encode --format e4m3 --overflow ieee", lines), "7f\n7f\nff\n7f\n");
  EXPECT_EQ(converted("encode --format e4m3 --overflow saturate", lines), "7e\n7e\nfe\n7f\n");
  EXPECT_EQ(converted("encode --format e5m2 --overflow ieee", lines), "79\n7c\nfc\n7f\n");
  EXPECT_EQ(converted("encode --format e5m2 --overflow saturate", lines), "79\n7b\nfb\n7f\n");
  EXPECT_EQ(converted("encode --format e8m0 --overflow saturate", "7f800000\n7fc00000\n"),
            "fe\nff\n");
}

TEST_F(CodecCli, EverySource) {
  EXPECT_EQ(converted("encode --from f32", "3f800000\n00000001\n"), "08\n00\n");
  EXPECT_EQ(converted("encode --from bf16", "3f80\nc000\n7f80\n"), "08\n90\n6f\n");
  EXPECT_EQ(converted("encode --from f16", "3c00\nc000\n7c00\n7e00\n"), "08\n90\n6f\n80\n");
}

TEST_F(CodecCli, TakesEverySpellingOfALine) {
  EXPECT_EQ(converted("encode", "0x3f800000\n0X3F800000\r\n3F800000\n1\n0\n3f800000"),
            "08\n08\n08\n00\n00\n08\n");
  EXPECT_EQ(converted("decode", "0x08\r\n8\n8\r\n"), "3f800000\n3f800000\n3f800000\n");
  EXPECT_EQ(converted("encode", ""), "");
  EXPECT_EQ(converted("decode", ""), "");
  EXPECT_EQ(converted("encode", "3f800000\r"), "08\n");
}

TEST_F(CodecCli, NamesABadLineAfterWhatCameBefore) {
  expect_bad_line("zz\n", 1, "");
  expect_bad_line("3f800000\n40000000\n3f80000g\n3f800000\n", 3, "08\n10\n");
  expect_bad_line("3f800000\n\n3f800000\n", 2, "08\n");
  expect_bad_line("3f800000\n3f8000000\n", 2, "08\n");
  expect_bad_line("3f800000\n0x\n", 2, "08\n");
  expect_bad_line("3f800000\n -1\n", 2, "08\n");
  expect_bad_line("3f800000\n3f800000 \n", 2, "08\n");
  expect_bad_line("3f800000\n1.0", 2, "08\n");
  expect_bad_line("\r\n", 1, "");
  expect_bad_line("3f800000\n3f80\r0000\n", 2, "08\n");
  expect_bad_line(std::string("3f800000\n3f\0000000\n", 18), 2, "08\n");
  expect_bad_line("3f800000\n\xff\xfe\n", 2, "08\n");
  expect_bad_line(std::string(5000000, '0') + "\n", 1, "");
  expect_bad_line(std::string(5000000, '0'), 1, "");
  expect_bad_line("08\n100\n", 2, "3f800000\n", "decode");
  expect_bad_line("3f80\n3f800000\n", 2, "08\n", "encode --from bf16");
  expect_bad_line("3c00\n13c00\n", 2, "08\n", "encode --from f16");
}

TEST_F(CodecCli, RefusesBadWords) {
  const auto refuses = [&](const std::string& line, const std::string& names) {
    expect_refusal(codec(line, "3f800000\n"), 2, names);
  };
  refuses("", "DIRECTION");
  refuses("recode", "DIRECTION");
  refuses("encode decode", "decode");
  refuses("encode --format e9m9", "--format");
  refuses("encode --format int8", "--format");
  refuses("encode --rounding up", "--rounding");
  refuses("encode --rounding floor", "--rounding");
  refuses("encode --format e4m3 --rounding hybrid", "--rounding");
  refuses("encode --format e8m0 --rounding ta", "--rounding");
  refuses("encode --overflow wrap", "--overflow");
  refuses("encode --from f64", "--from");
}

TEST_F(CodecCli, JsonIsOneDocument) {
  const Program program =
      codec("encode --format e4m3 --overflow saturate --from bf16 --json", "3f80\n43e9\n");
  EXPECT_EQ(program.wait(), 0);
  EXPECT_EQ(Json::parse(program.out()), (Json{{"direction", "encode"},
                                              {"format", "e4m3"},
                                              {"rounding", "rne"},
                                              {"overflow", "saturate"},
                                              {"from", "bf16"},
                                              {"lines", 2},
                                              {"codes", {"38", "7e"}}}));
  const Program decoded = codec("decode --json", "08\n");
  EXPECT_EQ(decoded.wait(), 0);
  EXPECT_EQ(Json::parse(decoded.out()).at("float32"), Json{"3f800000"});
  const Program none = codec("encode --json", "");
  EXPECT_EQ(none.wait(), 0);
  EXPECT_EQ(Json::parse(none.out()).at("codes"), Json::array());
  expect_refusal(codec("encode --json", "3f800000\nzz\n"), 2, "line 2");
}

TEST_F(CodecCli, SavesItsDocument) {
  EXPECT_EQ(converted("encode --save codes.h5", "3f800000\n40000000\n"), "08\n10\n");
  const Json stored = load_result(folder.file("codes.h5"));
  EXPECT_EQ(stored.at("document").at("codes"), (Json{"08", "10"}));
}

TEST_F(CodecCli, SaysWhenItCannotReadOrWrite) {
  for (const char* line : {"encode", "encode --json"}) {
    const Program full = codec(line, "3f800000\n", "/dev/full");
    EXPECT_EQ(full.wait(), 2);
    EXPECT_NE(full.err().find("standard output"), std::string::npos) << full.err();
  }
  const Program of_folder(words("codec encode"),
                          {.folder = folder.path(), .standard_input = folder.path()});
  expect_refusal(of_folder, 2, "standard input");
}

TEST_F(CodecCli, SeedChangesStochasticRoundingOnly) {
  std::string lines;
  for (int i = 0; i < 200; ++i) lines += "3f880000\n";  // halfway
  const std::string zero = converted("encode --rounding stochastic --seed 0", lines);
  EXPECT_EQ(converted("encode --rounding stochastic", lines), zero);
  EXPECT_NE(converted("encode --rounding stochastic --seed 1", lines), zero);
  EXPECT_NE(zero.find("08"), std::string::npos);  // lines are elements: not all go one way
  EXPECT_NE(zero.find("09"), std::string::npos);
  for (const char* rounding : {"ta", "rne", "hybrid", "hybrid-exact"}) {
    const std::string encode = std::string("encode --rounding ") + rounding;
    EXPECT_EQ(converted(encode + " --seed 1", lines), converted(encode, lines)) << rounding;
  }
}

TEST_F(CodecCli, SurvivesMillionsOfLines) {
  // Lines of 1 to 8 digits lie across every boundary of what is read at a time.
  constexpr int lines = 3000000;
  std::string patterns, codes;
  const std::vector<std::pair<std::string, std::string>> cycle{
      {"3f800000", "08"}, {"0", "00"}, {"47200000", "6f"}, {"7fc00000", "80"}, {"abc", "00"}};
  for (int i = 0; i < lines; ++i) {
    const auto& [pattern, code] = cycle[static_cast<std::size_t>(i) % cycle.size()];
    patterns += pattern + '\n';
    codes += code + '\n';
  }
  EXPECT_TRUE(converted("encode", patterns) == codes);
  const Program bad = codec("encode", patterns + "x\n");
  EXPECT_EQ(bad.wait(), 2);
  EXPECT_TRUE(bad.out() == codes);
  EXPECT_NE(bad.err().find("line 3000001"), std::string::npos) << bad.err();
}

}  // namespace
}  // namespace ospsim
