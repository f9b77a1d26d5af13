//! The shop by itself: every service answers through every other, and leaves nothing behind.

use spanhound_tests::load::agent;
use spanhound_tests::shop::Shop;
use spanhound_tests::stage::{Stage, alive, marked};

#[test]
fn every_route_answers_and_the_end_leaves_nothing() {
    let mut stage = Stage::open("test-shop").unwrap();
    let directory = stage.directory().to_path_buf();
    let shop = Shop::start(&mut stage, &mut |_| {}).unwrap();
    let client = agent();
    let get = |path: &str| {
        let mut answer = client
            .get(format!("http://127.0.0.1:{}{path}", shop.port))
            .call()
            .unwrap();
        (
            answer.status().as_u16(),
            answer.body_mut().read_to_string().unwrap(),
        )
    };
    let post = |path: &str| {
        let mut answer = client
            .post(format!("http://127.0.0.1:{}{path}", shop.port))
            .send_empty()
            .unwrap();
        (
            answer.status().as_u16(),
            answer.body_mut().read_to_string().unwrap(),
        )
    };

    assert_eq!(get("/").0, 200);
    let (status, products) = get("/products?page=0");
    assert_eq!((status, products.matches("\"id\"").count()), (200, 20));
    assert_eq!(get("/products?page=0").1, products, "the cached page is the same");
    let (status, product) = get("/products/7");
    assert_eq!(
        (status, product.matches("\"price\"").count()),
        (200, 4),
        "{product}"
    );
    assert_eq!(get("/products/999").0, 404);
    assert_eq!(
        get("/search?q=everything").0,
        500,
        "a statement that fails fails the request"
    );
    assert_eq!(post("/cart/somebody/7").0, 201);
    let (status, cart) = get("/cart/somebody");
    assert!(status == 200 && cart.contains("\"count\":1"), "{cart}");

    // Payments are refused at random: any of the answers is one of the checkout's own.
    let (status, order) = post("/checkout/somebody");
    assert!([201, 402, 500, 504].contains(&status), "{status} {order}");

    let pids: Vec<u32> = shop.services.iter().map(|service| service.pid).collect();
    drop(stage);
    assert!(pids.iter().all(|pid| !alive(*pid)));
    assert_eq!(marked(&directory), Vec::<u32>::new());
    assert!(!directory.exists());
}
