// Files of base logits and comparisons with them: the bytes against a reader written out here, the figures against
// sums in double over a reference model's logits.

#include "model/evaluate/base_comparison.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include <gtest/gtest.h>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"
#include "tests/support/reference_llama.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::model {
namespace {

namespace fs = std::filesystem;
using testing::ReferenceLlama;
using testing::TemporaryDirectory;
using testing::TinyModel;

/// A row as it lies in the file.
struct PlainRow {
  float scale;
  float minimum;
  std::vector<std::uint16_t> codes;

  double log_p(index_t id) const { return scale * static_cast<float>(codes[id]) + minimum; }
  index_t top() const { return std::max_element(codes.begin(), codes.end()) - codes.begin(); }
};

/// The file by its description.
struct PlainFile {
  explicit PlainFile(const std::string& bytes) {
    EXPECT_EQ(bytes.substr(0, 8), "_logits_");
    const char* at = bytes.data() + 8;
    const auto take = [&](auto& value) {
      std::memcpy(&value, at, sizeof(value));
      at += sizeof(value);
    };
    take(context);
    take(vocabulary);
    take(chunks);
    tokens.resize(static_cast<std::size_t>(context * chunks));
    for (std::int32_t& token : tokens) take(token);
    for (std::int32_t r = 0; r < chunks * (context - 1 - context / 2); ++r) {
      PlainRow& row = rows.emplace_back();
      take(row.scale);
      take(row.minimum);
      row.codes.resize(static_cast<std::size_t>(vocabulary + vocabulary % 2));
      for (std::uint16_t& code : row.codes) take(code);
    }
    EXPECT_EQ(at, bytes.data() + bytes.size());
  }

  std::int32_t context, vocabulary, chunks;
  std::vector<std::int32_t> tokens;
  std::vector<PlainRow> rows;
};

/// Log-probabilities after each of `ids`, by a model in double.
std::vector<std::vector<double>> reference_rows(const Checkpoint& checkpoint, const std::vector<int>& ids) {
  std::vector<std::vector<double>> rows = ReferenceLlama(checkpoint).logits(ids);
  for (std::vector<double>& row : rows) {
    const double top = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (const double logit : row) sum += std::exp(logit - top);
    for (double& logit : row) logit -= top + std::log(sum);
  }
  return rows;
}

/// Two tiny models of one vocabulary, odd and even: a base, and one to compare.
class BaseLogits : public ::testing::TestWithParam<index_t> {
 protected:
  static constexpr index_t context = 15, chunks = 3;

  void SetUp() override {
    const comm::Communicator world = comm::Communicator::world();
    std::string path;
    if (world.is_root()) {
      folder_.emplace();
      TinyModel tiny;
      tiny.vocab = GetParam();
      testing::write_hf(tiny, *folder_ / "base");
      tiny.seed = 2;
      testing::write_hf(tiny, *folder_ / "other");
      path = folder_->path().string();
    }
    comm::broadcast(world, path);
    path_ = path;
    for (index_t i = 0; i < chunks * context; ++i) ids_.push_back(static_cast<int>(i * 37 % 261));
    plan_ = plan_windows(find_protocol("llama.cpp"), std::ssize(ids_), context, {}, {});
    plan_.first_token = 7;
  }
  void TearDown() override { comm::Communicator::world().barrier(); }

  /// Writes the base's file on rank 0; its losses there.
  WindowLosses save(const comm::ProcessGrid& grid) const {
    const auto checkpoint = Checkpoint::open(path_ / "base");
    Queue<Device::cpu> queue(2);
    Llama<Device::cpu> llama({*checkpoint, nullptr, DType::f32}, grid.tensor(), queue);
    const bool is_root = comm::Communicator::world().is_root();
    std::optional<BaseLogitsWriter> writer;
    if (is_root) writer.emplace(path_ / "base.kld", context, GetParam(), ids_);
    const auto keep = [&](index_t window, std::vector<float>& kept) {
      writer->add(window, take_base_rows(kept, GetParam()));
    };
    WindowLosses losses = score_windows<Device::cpu>(llama, grid, ids_, plan_, {.known = {}, .on_window = keep},
                                                     keep_base_rows<Device::cpu>);
    if (is_root) writer->finish();
    comm::Communicator::world().barrier();
    return losses;
  }

  WindowLosses compare(const comm::ProcessGrid& grid) const {
    const auto checkpoint = Checkpoint::open(path_ / "other");
    Queue<Device::cpu> queue(2);
    Llama<Device::cpu> llama({*checkpoint, nullptr, DType::f32}, grid.tensor(), queue);
    const BaseLogitsFile base(path_ / "base.kld");
    return score_windows<Device::cpu>(
        llama, grid, ids_, plan_, {},
        [&](Llama<Device::cpu>& of, const ScoredTokens<Device::cpu>& tokens, std::vector<float>& kept) {
          keep_comparison(of, base, plan_.first, tokens, kept);
        });
  }

  /// Calls visit(row, log-probabilities, token that followed) for every scored token.
  template <class Visit>
  void for_each_scored(const std::string& model, Visit visit) const {
    const auto checkpoint = Checkpoint::open(path_ / model);
    std::size_t number = 0;
    for (const Window& window : plan_.windows) {
      const std::vector<int> tokens = plan_.tokens_of(window, ids_);
      const auto rows = reference_rows(*checkpoint, tokens);
      for (index_t t = window.first_scored; t < window.size(); ++t) visit(number++, rows[t - 1], tokens[t]);
    }
  }

  std::optional<TemporaryDirectory> folder_;
  fs::path path_;
  std::vector<int> ids_;
  WindowPlan plan_;
};

TEST_P(BaseLogits, HaveTheBytesThatTheirDescriptionSays) {
  for (const int tensor : {0, 1}) {  // all ranks share a copy, or each has its own
    const comm::ProcessGrid grid(comm::Communicator::world(), tensor);
    const WindowLosses losses = save(grid);
    if (!comm::Communicator::world().is_root()) continue;
    const PlainFile file(testing::read_file(path_ / "base.kld"));
    EXPECT_EQ(file.context, context);
    EXPECT_EQ(file.vocabulary, GetParam());
    EXPECT_TRUE(std::equal(file.tokens.begin(), file.tokens.end(), ids_.begin(), ids_.end()));
    const BaseLogitsFile mapped(path_ / "base.kld");
    for_each_scored("base", [&](std::size_t number, const std::vector<double>& expected, int target) {
      const PlainRow& row = file.rows[number];
      const index_t of_chunk = base_rows(context), chunk = static_cast<index_t>(number) / of_chunk;
      const BaseRow same = mapped.row(chunk, static_cast<index_t>(number) % of_chunk);
      EXPECT_TRUE(std::equal(same.codes.begin(), same.codes.end(), row.codes.begin()));
      EXPECT_EQ(same.scale, row.scale);
      // Half a level of some nats in 65,536, and 1e-5 of the logits.
      for (index_t id = 0; id < GetParam(); ++id) ASSERT_NEAR(row.log_p(id), expected[id], 1e-4) << id;
      EXPECT_NEAR(losses[chunk][number % static_cast<std::size_t>(of_chunk)], -expected[target], 1e-5);
    });
  }
}

TEST_P(BaseLogits, AreComparedWithAsSumsInDoubleSay) {
  for (const int tensor : {0, 1}) {
    const comm::ProcessGrid grid(comm::Communicator::world(), tensor);
    save(grid);
    const WindowLosses numbers = compare(grid);
    if (!comm::Communicator::world().is_root()) continue;
    const PlainFile file(testing::read_file(path_ / "base.kld"));
    double sum = 0;
    std::size_t tokens = 0;
    for_each_scored("other", [&](std::size_t number, const std::vector<double>& log_q, int target) {
      const PlainRow& row = file.rows[number];
      double divergence = 0;
      for (index_t id = 0; id < GetParam(); ++id) {
        divergence += std::exp(row.log_p(id)) * (row.log_p(id) - log_q[id]);
      }
      const auto of_chunk = static_cast<std::size_t>(base_rows(context));
      const float* kept = numbers[number / of_chunk].data() + number % of_chunk * comparison_numbers;
      EXPECT_NEAR(kept[0], -log_q[target], 1e-5);
      EXPECT_NEAR(kept[1], -row.log_p(target), 1e-6);
      EXPECT_NEAR(kept[2], divergence, 1e-5);
      const auto top = std::max_element(log_q.begin(), log_q.end()) - log_q.begin();
      EXPECT_EQ(kept[3], top == row.top() ? 1 : 0);
      sum += divergence;
      ++tokens;
    });
    const ComparedWindows compared = compared_windows(numbers);
    EXPECT_NEAR(compared.divergence.mean.value, sum / static_cast<double>(tokens), 1e-5);
    EXPECT_EQ(compared.losses[0].size(), static_cast<std::size_t>(base_rows(context)));
  }
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, BaseLogits, ::testing::Values(263, 264));

TEST(BaseRow, ClipsWhatIsMoreThan16NatsBelowTheTop) {
  const std::vector<float> logits = {2.5f, 10, 9, -30, -6};
  const PartialLogits whole = part_of(logits, 0, 2);
  std::vector<std::uint16_t> codes(logits.size());
  encode(whole, logits, codes);
  EXPECT_EQ(codes, (std::vector<std::uint16_t>{34815, 65535, 61439, 0, 0}));  // 8.5/16, 1, 15/16 of 65,535
  const BaseRow row = row_of(whole);
  EXPECT_FLOAT_EQ(row.scale, 16.0f / 65535);
  EXPECT_NEAR(row.minimum, -16 - std::log(1 + std::exp(-1.0) + std::exp(-7.5)), 1e-6);
}

TEST(BaseRow, OfEqualLogitsIsAllZero) {
  const std::vector<float> logits(4, 3);
  const PartialLogits whole = part_of(logits, 0, 0);
  std::vector<std::uint16_t> codes(4, 9);
  encode(whole, logits, codes);
  EXPECT_EQ(codes, std::vector<std::uint16_t>(4, 0));
  EXPECT_EQ(row_of(whole).scale, 0);
  EXPECT_NEAR(row_of(whole).minimum, -std::log(4.0), 1e-6);
}

TEST(PartialLogits, OfSlicesJoinToTheWhole) {
  const std::vector<float> logits = {1, 5, -2, 5, 0};
  const std::vector<std::uint16_t> codes = {10, 20, 65535, 65535, 0};
  const BaseRow base{.scale = 1e-4f, .minimum = -7, .codes = codes};
  const PartialLogits whole = part_of(logits, 0, 3, base);
  EXPECT_EQ(whole.top, 1);
  EXPECT_EQ(whole.base_top, 2);
  const std::span<const float> all(logits);
  for (std::size_t cut = 0; cut <= logits.size(); ++cut) {
    const PartialLogits left = part_of(all.first(cut), 0, 3, base);
    const PartialLogits right = part_of(all.subspan(cut), static_cast<index_t>(cut), 3, base);
    for (const PartialLogits& joined : {join(left, right), join(right, left), join(PartialLogits(), whole)}) {
      EXPECT_EQ(joined.top, 1) << cut;
      EXPECT_EQ(joined.base_top, 2) << cut;
      EXPECT_FLOAT_EQ(loss_of(joined), loss_of(whole));
      EXPECT_FLOAT_EQ(divergence_of(joined), divergence_of(whole));
      EXPECT_EQ(joined.minimum, -2);
    }
  }
}

TEST(BaseLogitsFile, RefusesWhatIsNone) {
  const TemporaryDirectory folder;
  const auto refuses = [&](const std::string& bytes) {
    testing::write_file(folder / "file", bytes);
    EXPECT_THROW(BaseLogitsFile(folder / "file"), Error) << bytes.size();
  };
  const auto header = [](std::int32_t context, std::int32_t vocabulary, std::int32_t chunks) {
    const std::int32_t numbers[] = {context, vocabulary, chunks};
    return "_logits_" + std::string(reinterpret_cast<const char*>(numbers), sizeof(numbers));
  };
  const std::string rest(4 * 4 + 4 * (3 + 2), '\0');  // four tokens, one row of five ids
  testing::write_file(folder / "file", header(4, 5, 1) + rest);
  EXPECT_EQ(BaseLogitsFile(folder / "file").row(0, 0).codes.size(), 5u);
  refuses("");
  refuses("_logits_");
  refuses("_logitz_" + std::string(100, '\0'));
  refuses(header(4, 5, 1) + rest + "x");
  refuses(header(4, 5, 1) + rest.substr(1));
  refuses(header(4, 5, 2) + rest);
  for (const std::int32_t wrong : {0, -1, std::numeric_limits<std::int32_t>::max()}) {
    refuses(header(wrong, 5, 1) + rest);
    refuses(header(4, wrong, 1) + rest);
    refuses(header(4, 5, wrong) + rest);
  }
  std::string strange = rest;
  strange[0] = 5;  // an id that there is not
  refuses(header(4, 5, 1) + strange);
}

}  // namespace
}  // namespace hack::model
