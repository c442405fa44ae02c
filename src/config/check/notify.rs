//! `[notify]`: where notifications go, in which form, and how often.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;

use crate::config::ConfigKey;
use crate::config::check::providers;
use crate::config::checker::ConfigChecker;
use crate::config::choices::NOTIFICATION_FORMATS;
use crate::config::raw::{RawConfig, RawNotify};
use crate::config::references::RawWebhook;
use crate::config::values;
use crate::net::UpstreamSettings;
use crate::notify::{Settings, WEBHOOK_FIELD, Webhook, parse_webhook};
use crate::secret::SecretString;
use crate::status::NotificationFormat;

/// In this time at most one problem of each provider or route is reported.
const DEFAULT_INTERVAL: Duration = Duration::from_mins(5);

pub(super) fn notify(checker: &mut ConfigChecker<'_>, file: &RawConfig) -> Option<Settings> {
    let table = file.notify.as_ref()?;
    let raw = table.get_ref();
    let format = format(checker, table);
    let webhook = webhook(checker, file, table, &format);
    if let Some(word) = &raw.ca_file {
        checker.record_span(ConfigKey::NotifyCaFile, word.span());
    }
    Some(Settings {
        webhook,
        insecure_http: raw.insecure_http,
        format,
        interval: checker.parse_or(raw.interval.as_ref(), DEFAULT_INTERVAL, values::duration),
        upstream: UpstreamSettings {
            ca_file: raw.ca_file.as_ref().map(|word| checker.path(word)),
            proxy: checker.parse_or(raw.outbound.proxy.as_ref(), None, |word| {
                values::proxy_url(word).map(Some)
            }),
            source_address: checker.parse_or(raw.outbound.source_address.as_ref(), None, |word| {
                values::source_address(word).map(Some)
            }),
            ..UpstreamSettings::default()
        },
    })
}

fn format(checker: &mut ConfigChecker<'_>, table: &Spanned<RawNotify>) -> NotificationFormat {
    let raw = table.get_ref();
    let name = checker.choice_or(raw.format.as_ref(), "json", NOTIFICATION_FORMATS);
    match (name, &raw.chat_id) {
        ("telegram", Some(chat_id)) => NotificationFormat::Telegram {
            chat_id: chat_id.get_ref().clone(),
        },
        ("telegram", None) => {
            checker.error(
                table.span(),
                "`chat_id` is missing here",
                "add `chat_id = \"…\"`: the id of the chat, or `@name` of a public channel",
            );
            NotificationFormat::Json
        }
        (_, Some(chat_id)) => {
            checker.error(
                chat_id.span(),
                "only the format `telegram` has a `chat_id`",
                "remove the key, or set `format = \"telegram\"`",
            );
            NotificationFormat::Json
        }
        ("slack", None) => NotificationFormat::Slack,
        (_, None) => NotificationFormat::Json,
    }
}

fn webhook(
    checker: &mut ConfigChecker<'_>,
    file: &RawConfig,
    table: &Spanned<RawNotify>,
    format: &NotificationFormat,
) -> Webhook {
    let raw = table.get_ref();
    let Some(value) = &raw.webhook else {
        checker.error(
            table.span(),
            "`webhook` is missing here",
            "add `webhook = { vault = \"…\", path = \"…\" }`, or the URL itself",
        );
        return Webhook::Url(SecretString::from(""));
    };
    checker.record_span(ConfigKey::Webhook, value.span());
    match value.get_ref() {
        RawWebhook::Url(url) => {
            if let Err(wrong) = parse_webhook(url, raw.insecure_http) {
                checker.error(value.span(), wrong.problem, wrong.help);
            } else if *format != NotificationFormat::Json {
                checker.warn(
                    value.span(),
                    "this URL is a secret: whoever reads the file can post in the chat",
                    "store it in a vault as `webhook`, and write `webhook = { vault = \"…\", path = \"…\" }`",
                );
            }
            Webhook::Url(SecretString::from(url.as_str()))
        }
        RawWebhook::Vault(reference) => {
            let names = BTreeMap::from([(WEBHOOK_FIELD.to_owned(), Vec::new())]);
            let span = value.span();
            Webhook::Vault(providers::reference(checker, file, reference, &span, names))
        }
    }
}
