#include <stdlib.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "tests/experiments/comm_fixture.hpp"

namespace ospsim {
namespace {

// ---- Closed forms ------------------------------------------------------------------------------

TEST_F(CommCli, HelpHasAnExample) {
  const Program program = start("comm --help");
  EXPECT_EQ(program.wait(), 0);
  for (const char* part : {"Example:\n", "ospsim comm", "--strategy", "--ulysses-ranks", "--engine",
                           "--json", "--save", "--seed", "--threads"})
    EXPECT_NE(program.out().find(part), std::string::npos) << part;
}

TEST_F(CommCli, EveryStrategyHasEveryFieldOfTheContract) {
  for (const Strategy strategy : all_strategies()) {
    const std::string name(to_string(strategy));
    const Json document =
        comm("--ranks 4 --grid 21x48x80 --hidden 5120 --bytes-per-element 2 --ratio 2 --strategy " +
             name);
    EXPECT_EQ(document.at("strategy"), name);
    EXPECT_EQ(document.at("grid"), (Json{21, 48, 80}));
    EXPECT_EQ(document.at("tokens"), 80640);
    EXPECT_EQ(document.at("sparsity"), 4);
    EXPECT_EQ(document.at("hidden"), 5120);
    EXPECT_EQ(document.at("heads"), 40);
    EXPECT_EQ(document.at("batch"), 1);
    EXPECT_EQ(document.at("bytes_per_element"), 2);
    EXPECT_EQ(document.at("engine"), "formula");
    for (const char* field : {"ssp_ranks", "ulysses_ranks", "ring_ranks"})
      EXPECT_TRUE(document.at(field).is_number_integer()) << field << " of " << name;
    for (const char* field : {"collectives", "steps", "sent_bytes_per_rank"}) {
      EXPECT_TRUE(document.at("per_block").at(field).is_number_integer()) << field;
      EXPECT_TRUE(document.at("per_block_backward").at(field).is_number_integer()) << field;
    }
    for (const char* field : {"per_forward", "measured", "simulated"})
      EXPECT_FALSE(document.contains(field)) << field << " of " << name;

    const Json forward = comm("--ranks 4 --model osp-next-14b --strategy " + name);
    EXPECT_EQ(forward.at("model"), "osp-next-14b");
    EXPECT_EQ(forward.at("per_block"), document.at("per_block"));
    EXPECT_TRUE(forward.at("per_forward").at("sent_bytes_per_rank").is_number_integer());
    for (const Json& part : forward.at("per_forward").at("breakdown")) {
      EXPECT_TRUE(part.at("part").is_string());
      for (const char* field : {"collectives", "steps", "sent_bytes_per_rank"})
        EXPECT_TRUE(part.at(field).is_number_integer()) << field;
    }
  }
}

/// The formulas of the literature, where tokens, heads and sub-sequences divide evenly.
TEST_F(CommCli, EvenSharesAreTheFormulasOfTheLiterature) {
  constexpr std::int64_t n = 80640, d = 5120, bytes = 2;
  for (const std::int64_t p : {2, 4, 8}) {
    const Json document = comm("--resolution 768p --ranks " + std::to_string(p));
    const std::int64_t shard = n / p * d * bytes, s = std::min<std::int64_t>(p, 4), u = p / s;
    for (const Json& row : document.at("strategies")) {
      if (row.contains("refused")) continue;
      const auto expect = [&](std::int64_t collectives, std::int64_t steps, std::int64_t sent) {
        EXPECT_EQ(
            row.at("per_block"),
            (Json{{"collectives", collectives}, {"steps", steps}, {"sent_bytes_per_rank", sent}}))
            << p << " ranks: " << row;
      };
      const std::string strategy = row.at("strategy");
      if (strategy == "ulysses" || strategy == "usp") expect(4, 4, 4 * shard * (p - 1) / p);
      if (strategy == "ring") expect(0, p - 1, 2 * shard * (p - 1));
      if (strategy == "megatron-sp") expect(4, 4, 4 * shard * (p - 1));
      if (strategy == "ssp") expect(1, 1, shard * (p - 1) / p);
      if (strategy == "gather") expect(1, 1, shard * (p - 1));
      if (strategy == "ssp-ulysses")
        expect(u > 1 ? 5 : 1, u > 1 ? 5 : 1, shard * (s - 1) / s + 4 * shard * (u - 1) / u);
    }
  }
}

TEST_F(CommCli, BlocksOfThePaperInMegabytes) {
  struct Case {
    const char* where;
    double ulysses, ours, ratio;
  };
  for (const auto& [where, ulysses, ours, ratio] :
       {Case{"768p --ranks 2", 825.8, 206.4, .250}, Case{"768p --ranks 4", 619.3, 154.8, .250},
        Case{"768p --ranks 8", 361.3, 283.9, .786}, Case{"720p --ranks 2", 774.1, 206.4, .267},
        Case{"720p --ranks 4", 580.6, 154.8, .267}, Case{"720p --ranks 8", 338.7, 283.9, .838}}) {
    const std::string line = std::string("--resolution ") + where + " --strategy ";
    const auto megabytes = [&](const char* strategy) {
      return static_cast<double>(sent_bytes(comm(line + strategy).at("per_block"))) / 1e6;
    };
    EXPECT_NEAR(megabytes("ulysses"), ulysses, .05) << where;
    EXPECT_NEAR(megabytes("ssp-ulysses"), ours, .05) << where;
    EXPECT_NEAR(megabytes("ssp-ulysses") / megabytes("ulysses"), ratio, .0005) << where;
  }
}

TEST_F(CommCli, ForwardPassesOfThePaperInMegabytes) {
  struct Case {
    const char* where;
    const char* strategy;
    double dense, sparse, saved_percent, saved_percent_by_reshard;
  };
  for (const auto& c : {Case{"720p --ranks 4", "ssp", 23224, 10644, 54.2, 58.0},
                        Case{"768p --ranks 4", "ssp", 24773, 10993, 55.6, 59.4},
                        Case{"720p --ranks 8", "ssp-ulysses", 13548, 13115, 3.2, 12.2},
                        Case{"768p --ranks 8", "ssp-ulysses", 14451, 13341, 7.7, 16.4}}) {
    const auto megabytes = [&](const std::string& words) {
      const Json forward =
          comm(std::string("--resolution ") + c.where + " " + words).at("per_forward");
      return static_cast<double>(sent_bytes(forward)) / 1e6;
    };
    const double dense = megabytes("--model wan2.1-14b --strategy ulysses");
    const std::string sparse = std::string("--model osp-next-14b --strategy ") + c.strategy;
    EXPECT_NEAR(dense, c.dense, .5) << c.where;
    EXPECT_EQ(megabytes("--model wan2.1-14b --boundary reshard --strategy ulysses"), dense);
    EXPECT_NEAR(megabytes(sparse), c.sparse, .5) << c.where;
    EXPECT_EQ(megabytes(sparse + " --boundary all-gather"), megabytes(sparse));
    EXPECT_NEAR(100 * (1 - megabytes(sparse) / dense), c.saved_percent, .05) << c.where;
    // Rounded from counts that let the boundaries of 720p move padding too, a little more.
    const double saved = 100 * (1 - megabytes(sparse + " --boundary reshard") / dense);
    EXPECT_GE(saved, c.saved_percent_by_reshard - .05) << c.where;
    EXPECT_LE(saved, c.saved_percent_by_reshard + .1) << c.where;
  }
}

TEST_F(CommCli, BreakdownOfAForwardPass) {
  // 8 full blocks of 4 all-to-alls, 31 switches between 32 sparse blocks, the two boundaries.
  const Json four = comm("--ranks 4 --resolution 768p --model osp-next-14b --strategy ssp");
  const Json& parts = four.at("per_forward").at("breakdown");
  const auto part = [](const char* name, int collectives, std::int64_t sent) {
    return Json{{"part", name},
                {"collectives", collectives},
                {"steps", collectives},
                {"sent_bytes_per_rank", sent}};
  };
  EXPECT_EQ(parts,
            (Json{part("full blocks", 32, 4954521600), part("phase switches", 31, 4799692800),
                  part("entering", 1, 619315200), part("leaving", 1, 619315200)}));

  // The total is that of one rank; each part names its own largest.
  for (const char* where : {"--ranks 4 --resolution 768p", "--ranks 8 --resolution 720p",
                            "--ranks 6 --grid 5x13x27 --hidden 84 --heads 7"})
    for (const char* boundary : {"all-gather", "reshard"}) {
      const Json document =
          comm(std::string(where) + " --model osp-next-14b --boundary " + boundary);
      EXPECT_EQ(document.at("boundary"), boundary);
      for (const Json& row : document.at("strategies")) {
        if (row.contains("refused")) continue;
        const Json& forward = row.at("per_forward");
        std::int64_t collectives = 0, steps = 0, sent = 0, largest = 0;
        for (const Json& one : forward.at("breakdown")) {
          collectives += one.at("collectives").get<int>();
          steps += one.at("steps").get<int>();
          sent += sent_bytes(one);
          largest = std::max(largest, sent_bytes(one));
        }
        EXPECT_EQ(forward.at("collectives"), collectives) << row;
        EXPECT_EQ(forward.at("steps"), steps) << row;
        EXPECT_LE(sent_bytes(forward), sent) << row;
        EXPECT_GE(sent_bytes(forward), largest) << row;
        if (std::string(where) == "--ranks 4 --resolution 768p") {
          EXPECT_EQ(sent_bytes(forward), sent) << row;  // even shares: every rank alike
        }
      }
    }
}

TEST_F(CommCli, DegreesAreChosenOrGiven) {
  const auto degrees = [&](const std::string& line) {
    const Json document = comm("--resolution 768p --strategy " + line);
    return Json{document.at("ssp_ranks"), document.at("ulysses_ranks"), document.at("ring_ranks")};
  };
  EXPECT_EQ(degrees("ulysses --ranks 8"), (Json{1, 8, 1}));
  EXPECT_EQ(degrees("ring --ranks 8"), (Json{1, 1, 8}));
  EXPECT_EQ(degrees("ssp --ranks 4"), (Json{4, 1, 1}));
  // As much ssp as divides the sub-sequences, as much ulysses as divides the heads.
  EXPECT_EQ(degrees("ssp-ulysses --ranks 8"), (Json{4, 2, 1}));
  EXPECT_EQ(degrees("ssp-ulysses --ranks 6 --ratio 3"), (Json{3, 2, 1}));
  EXPECT_EQ(degrees("ssp-ulysses --ranks 8 --ratio 4"), (Json{8, 1, 1}));
  EXPECT_EQ(degrees("ssp-ulysses --ranks 8 --ulysses-ranks 4"), (Json{2, 4, 1}));
  EXPECT_EQ(degrees("usp --ranks 8"), (Json{1, 8, 1}));
  EXPECT_EQ(degrees("usp --ranks 16"), (Json{1, 8, 2}));
  EXPECT_EQ(degrees("usp --ranks 8 --ulysses-ranks 2"), (Json{1, 2, 4}));
  EXPECT_EQ(degrees("usp --ranks 8 --ring-ranks 2"), (Json{1, 4, 2}));
  EXPECT_EQ(degrees("usp --ranks 8 --ulysses-ranks 4 --ring-ranks 2"), (Json{1, 4, 2}));

  constexpr std::int64_t shard = 80640 / 8 * 5120 * 2;
  const Json usp = comm("--resolution 768p --ranks 8 --strategy usp --ulysses-ranks 2");
  EXPECT_EQ(usp.at("per_block"), (Json{{"collectives", 4},
                                       {"steps", 4 + 3},
                                       {"sent_bytes_per_rank", shard * 4 / 2 + 2 * shard * 3}}));
  const Json split = comm("--resolution 768p --ranks 8 --strategy ssp-ulysses --ulysses-ranks 4");
  EXPECT_EQ(
      split.at("per_block"),
      (Json{{"collectives", 5}, {"steps", 5}, {"sent_bytes_per_rank", shard / 2 + shard * 3}}));
}

TEST_F(CommCli, UnevenSharesAreThoseOfTheLargestRank) {
  // 64 tokens, 3 heads of 2 channels on 2 ranks: the second, with one head, sends 4 channels of 32
  // rows three times and gets to keep 2 channels of its own 32.
  EXPECT_EQ(
      comm("--strategy ulysses --ranks 2 --grid 1x8x8 --hidden 6 --heads 3").at("per_block"),
      (Json{{"collectives", 4}, {"steps", 4}, {"sent_bytes_per_rank", 2 * (3 * 32 * 4 + 32 * 2)}}));
  // 7 tokens on 2 ranks: in a ring the first sends its own 4.
  EXPECT_EQ(comm("--strategy ring --ranks 2 --grid 1x1x7 --hidden 6 --heads 3").at("per_block"),
            (Json{{"collectives", 0}, {"steps", 1}, {"sent_bytes_per_rank", 2 * (2 * 4 * 6)}}));
  // Padded to 2x8x8 rows, of which every rank of four hands three quarters on.
  EXPECT_EQ(sent_bytes(
                comm("--strategy ssp --ranks 4 --grid 2x5x7 --hidden 6 --heads 3").at("per_block")),
            2 * 32 * 6 * 3 / 4);
  EXPECT_EQ(comm("--strategy ulysses --ranks 1 --grid 1x8x8").at("per_block"),
            (Json{{"collectives", 0}, {"steps", 0}, {"sent_bytes_per_rank", 0}}));
}

TEST_F(CommCli, BatchAndBytesPerElementMultiply) {
  const Json one = comm("--ranks 4 --grid 3x9x14 --model osp-next-14b --bytes-per-element 1");
  const Json six =
      comm("--ranks 4 --grid 3x9x14 --model osp-next-14b --bytes-per-element 2 --batch 3");
  EXPECT_EQ(six.at("batch"), 3);
  ASSERT_EQ(one.at("strategies").size(), six.at("strategies").size());
  for (std::size_t i = 0; i < one.at("strategies").size(); ++i)
    for (const char* field : {"per_block", "per_block_backward", "per_forward"}) {
      const Json &a = one.at("strategies")[i].at(field), &b = six.at("strategies")[i].at(field);
      EXPECT_EQ(6 * sent_bytes(a), sent_bytes(b)) << field;
      EXPECT_EQ(a.at("steps"), b.at("steps")) << field;
    }
}

TEST_F(CommCli, WithoutStrategyAllStandSideBySide) {
  const Json document = comm("--ranks 8 --resolution 768p");
  EXPECT_FALSE(document.contains("per_block"));
  Json names = Json::array(), refused = Json::array();
  for (const Json& row : document.at("strategies")) {
    names.push_back(row.at("strategy"));
    if (row.contains("refused")) {
      refused.push_back(row.at("strategy"));
      EXPECT_NE(row.at("refused").get<std::string>().find("4 is the nearest"), std::string::npos);
    } else {
      const Json alone =
          comm("--ranks 8 --resolution 768p --strategy " + row.at("strategy").get<std::string>());
      EXPECT_EQ(row.at("per_block"), alone.at("per_block"));
    }
  }
  EXPECT_EQ(names, (Json{"ulysses", "ssp", "ssp-ulysses", "ring", "usp", "megatron-sp", "gather"}));
  EXPECT_EQ(refused, (Json{"ssp", "gather"}));
  EXPECT_EQ(comm("--ranks 8 --resolution 768p --strategy all"), document);
}

TEST_F(CommCli, ResolutionIsAGrid) {
  EXPECT_EQ(comm("--resolution 720p"), comm("--grid 21x45x80"));
  EXPECT_EQ(comm("--resolution 480p --frames 1"), comm("--grid 1x30x52"));
  EXPECT_EQ(comm(""), comm("--resolution 768p --ranks 8"));
}

TEST_F(CommCli, RefusalsNameTheOption) {
  refuses("--strategy nothing", "--strategy: ");
  refuses("--strategy ulysses --ranks 0", "--ranks: ");
  refuses("--strategy ulysses --ranks -2", "--ranks: ");
  refuses("--strategy ulysses --ranks many", "--ranks: ");
  refuses("--strategy usp --ulysses-ranks 0", "--ulysses-ranks: ");
  refuses("--strategy usp --ring-ranks x", "--ring-ranks: ");
  refuses("--boundary nothing", "--boundary: ");
  refuses("--engine nothing", "--engine: ");
  refuses("--model nothing", "--model: ");
  refuses("--placement nothing", "--placement: ");
  refuses("--schedule nothing", "--schedule: ");
  refuses("--batch 0", "--batch: ");
  refuses("--replicas 0", "--replicas: ");
  refuses("--repetitions 0", "--repetitions: ");
  refuses("--ratio 0", "--ratio: ");
  refuses("--pattern nothing", "--pattern: ");
  refuses("--grid 1x8x8 --resolution 720p", "--grid: ");
  refuses("--resolution 721p", "--resolution: ");
  refuses("--hidden 1000", "--hidden: 1000 is not a multiple of 128; give --heads");
  refuses("--hidden 0", "--hidden: ");
  refuses("--hidden 1280 --heads 3", "--heads: 3 heads do not divide a width of 1280");
  refuses("--bytes-per-element 0", "--bytes-per-element: ");
  refuses("--engine mpi --bytes-per-element 1", "--bytes-per-element: ");
  refuses("--engine mpi --bytes-per-element 8", "--bytes-per-element: ");
  refuses("--engine mpi --hidden 24 --heads 8", "--heads: 3 channels a head");
}

TEST_F(CommCli, HeadsMustDivideAModelsWidthToo) {
  refuses("--model osp-next-14b --heads 3", "--heads: ");
  refuses("--model wan2.1-14b --heads 10000 --strategy ulysses --ranks 2", "--heads: ");
  EXPECT_EQ(comm("--model osp-next-14b --heads 20").at("hidden"), 5120);
}

TEST_F(CommCli, RefusedStrategiesNameTheNearestThatWorks) {
  refuses("--strategy ssp --ranks 3", "--ranks: 3 ssp ranks do not divide 4 sub-sequences; 2 is");
  refuses("--strategy ssp --ranks 8", "--ranks: 8 ssp ranks do not divide 4 sub-sequences; 4 is");
  refuses("--strategy gather --ranks 8", "4 is the nearest");
  refuses("--strategy ulysses --ranks 41", "--ranks: 41 ranks cannot share 40 heads; 40 is");
  refuses("--strategy megatron-sp --ranks 41", "40 is the most");
  refuses("--strategy ring --ranks 9 --grid 1x2x4", "--ranks: 9 ranks cannot share 8 tokens; 8");
  refuses("--strategy usp --ranks 8 --ulysses-ranks 3", "ulysses groups of 3; 2 is the nearest");
  refuses("--strategy usp --ranks 8 --ring-ranks 5", "rings of 5; 4 is the nearest");
  refuses("--strategy usp --ranks 8 --ulysses-ranks 2 --ring-ranks 2", "not 8 ranks");
  refuses("--strategy ssp-ulysses --ranks 8 --ulysses-ranks 1", "4 is the nearest");
  refuses("--strategy ssp-ulysses --ranks 8 --grid 1x4x4", "cannot cut a frame of 1 x 1 units");
  refuses("--strategy ulysses --ulysses-ranks 2", "ulysses degree");
  refuses("--strategy ssp --ring-ranks 2", "ring degree");
  refuses("--strategy ssp --ranks 4 --pattern full", "pattern 'full' has one sub-sequence");
}

TEST_F(CommCli, RefusesPlatforms) {
  const std::string line = "--engine simgrid --strategy ulysses --ranks 2 --platform ";
  const auto file = [&](const char* name, const std::string& text) {
    std::ofstream(folder.file(name)) << text;
    return std::string(name);
  };
  refuses(line + "nowhere", "--platform: ");
  refuses(line + "nowhere.json", "nowhere.json");
  refuses(line + ".", "--platform: ");
  refuses(line + file("empty.json", ""), "--platform: empty.json: ");
  refuses(line + file("cut.json", "{"), "--platform: cut.json: ");
  refuses(line + file("list.json", "[]"), "--platform: list.json: ");
  refuses(line + file("little.json", R"({"name": "little"})"), "--platform: little.json: ");
}

TEST_F(CommCli, SavesAndShows) {
  const Json document = comm("--ranks 8 --resolution 720p --model osp-next-14b --save c.h5");
  EXPECT_EQ(load_result(folder.file("c.h5")).at("document"), document);
  const Program shown = start("show c.h5");
  EXPECT_EQ(shown.wait(), 0) << shown.err();
  for (const char* part : {"ssp 4 x ulysses 2", "osp-next-14b", "13115.290", "sent/rank, MB",
                           "8 ssp ranks do not divide 4 sub-sequences"})
    EXPECT_NE(shown.out().find(part), std::string::npos) << part << " in " << shown.out();
  comm("--ranks 4 --strategy ssp --model osp-next-14b --save one.h5");
  const Program one = start("show one.h5");
  EXPECT_EQ(one.wait(), 0) << one.err();
  EXPECT_NE(one.out().find("phase switches"), std::string::npos) << one.out();
}

// ---- Real processes ----------------------------------------------------------------------------

class CommMpi : public CommCli {
 protected:
  void SetUp() override {
    CommCli::SetUp();
    if (const std::string reason = lacks("mpi"); !reason.empty()) GTEST_SKIP() << reason;
  }
  Json mpi(const std::string& line) const { return comm("--engine mpi" + (small + line)); }
};

TEST_F(CommMpi, EveryStrategyOnFourRanks) {
  const Json document = mpi(" --ranks 4 --grid 2x9x14");
  EXPECT_EQ(document.at("bytes_per_element"), 4);
  expect_all_agree(document, 7);
}

TEST_F(CommMpi, InterruptedLeavesNothing) {
  const TemporaryFolder temporary;
  setenv("TMPDIR", temporary.path().c_str(), 1);
  const Program program =
      start("comm --engine mpi --ranks 2 --strategy ulysses --grid 9x48x48 --repetitions 10000");
  unsetenv("TMPDIR");
  constexpr std::size_t of_fixture = 1;  // where the program's output goes
  for (int tries = 0; temporary.entries() == of_fixture && tries < 2000; ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_GT(temporary.entries(), of_fixture);
  program.interrupt();
  EXPECT_EQ(program.wait(), 130);
  EXPECT_EQ(temporary.entries(), of_fixture);
}

TEST_F(CommMpi, PatternsSpelledByFrame) {
  for (const char* pattern : {"s0|s1", "skiparse-1d --per-frame", "skiparse-1d"})
    expect_as_formula(
        mpi(" --ranks 2 --grid 2x5x9 --strategy ssp --ratio 2 --pattern " + std::string(pattern)));
}

TEST_F(CommMpi, OnTwoRanks) {
  for (const char* strategy : {"ulysses", "ssp", "ring", "megatron-sp"}) {
    const Json row = mpi(" --ranks 2 --grid 1x8x12 --strategy " + std::string(strategy));
    expect_as_formula(row);
    expect_as_one_rank(row);
  }
}

TEST_F(CommMpi, OnEightRanks) {
  for (const char* strategy :
       {"ulysses", "ssp-ulysses", "ring", "usp --ulysses-ranks 2", "megatron-sp"}) {
    const Json row = mpi(" --ranks 8 --grid 1x9x11 --strategy " + std::string(strategy));
    expect_as_formula(row);
    expect_as_one_rank(row);
  }
}

TEST_F(CommMpi, OtherRatiosAndABatch) {
  for (const char* line :
       {" --ratio 3 --ranks 3 --strategy ssp --grid 1x10x19 --seed 3",
        " --ratio 4 --ranks 8 --strategy ssp --grid 1x5x17",
        " --batch 2 --ranks 4 --strategy ssp-ulysses --ulysses-ranks 2 --grid 2x5x11"}) {
    const Json row = mpi(line);
    expect_as_formula(row);
    expect_as_one_rank(row);
  }
}

/// The input is representable in bf16 and the switch alone is on the wire, so nothing is lost.
TEST_F(CommMpi, SwitchesOfBf16AreExact) {
  const Json ssp = mpi(" --bytes-per-element 2 --ranks 4 --grid 2x9x14 --strategy ssp");
  expect_as_formula(ssp);
  EXPECT_EQ(ssp.at("max_abs_difference"), 0.0);
  const Json ulysses = mpi(" --bytes-per-element 2 --ranks 4 --grid 2x9x14 --strategy ulysses");
  expect_as_formula(ulysses);
  EXPECT_GT(ulysses.at("max_abs_difference"), 0.0);
  EXPECT_GT(ulysses.at("relative_l2"), 1e-5);
  EXPECT_LT(ulysses.at("relative_l2"), std::ldexp(1, -8));
}

TEST_F(CommMpi, WholeForwardPass) {
  const Json row = mpi(" --model osp-next-14b --ranks 4 --grid 1x8x8 --strategy ssp");
  EXPECT_EQ(row.at("per_forward").at("collectives"), 32 + 31 + 2);
  expect_as_formula(row, "per_forward");
  expect_as_one_rank(row);
}

// ---- A simulated network -----------------------------------------------------------------------

class CommSimgrid : public CommCli {
 protected:
  void SetUp() override {
    CommCli::SetUp();
    if (const std::string reason = lacks("simgrid"); !reason.empty()) GTEST_SKIP() << reason;
  }
};

TEST_F(CommSimgrid, EqualsTheClosedFormInOneNode) {
  for (const std::string ranks : {"2", "4", "8"})
    for (const char* strategy : {"ulysses", "ssp"}) {
      if (ranks == "8" && std::string(strategy) == "ssp") continue;
      const Json document = comm("--engine simgrid --platform h200-nvlink --ranks " + ranks +
                                 " --strategy " + strategy);
      EXPECT_EQ(document.at("platform"), "h200-nvlink");
      const Json& simulated = document.at("simulated");
      const double time = simulated.at("time_ms"), closed_form = simulated.at("closed_form_ms");
      EXPECT_NEAR(time, closed_form, 1e-3 * closed_form) << strategy << ' ' << ranks;
      EXPECT_NEAR(simulated.at("wire_ms").get<double>() + simulated.at("latency_ms").get<double>(),
                  time, 1e-9 * time);
      EXPECT_EQ(simulated.at("devices"), std::stoi(ranks));
      EXPECT_EQ(simulated.at("nodes"), 1);
    }
}

TEST_F(CommSimgrid, OversubscribedNetworkIsSlowerThanItsNics) {
  const std::string line =
      "--engine simgrid --platform h200-fat-tree-4to1 --ranks 8 --replicas 8 --strategy ulysses";
  const Json packed = comm(line).at("simulated");
  const Json strided = comm(line + " --placement strided").at("simulated");
  EXPECT_NEAR(packed.at("time_ms").get<double>(), packed.at("closed_form_ms").get<double>(),
              1e-3 * packed.at("time_ms").get<double>());
  EXPECT_GT(strided.at("time_ms").get<double>(), 1.5 * strided.at("closed_form_ms").get<double>());
  EXPECT_GT(strided.at("time_ms").get<double>(), 5 * packed.at("time_ms").get<double>());
  EXPECT_EQ(strided.at("nodes"), 8);
  EXPECT_EQ(strided.at("devices"), 64);
}

TEST_F(CommSimgrid, RefusesMoreRanksThanTheNodeHas) {
  const std::string line = "--engine simgrid --platform h200-nvlink --strategy ulysses ";
  refuses(line + "--ranks 16", "platform 'h200-nvlink' is one node of 8 devices");
  refuses(line + "--ranks 4 --replicas 3", "platform 'h200-nvlink' is one node of 8 devices");
  EXPECT_EQ(comm(line + "--ranks 4 --replicas 2").at("simulated").at("devices"), 8);
}

}  // namespace
}  // namespace ospsim
